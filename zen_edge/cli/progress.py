"""Steps of a long command on stderr: a spinner on a terminal, a line for each step elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def steps(quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Gives a function that is told the name of each step as it begins; the seconds a step took stand behind it when it ends."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    current: list[tuple[str, float]] = []
    status = console.status("") if console.is_terminal and not quiet else None

    def end() -> None:
        if current and not quiet:
            name, start = current.pop()
            console.print(f"{name}  {time.perf_counter() - start:.1f} s", markup=False)

    def tell(step: str) -> None:
        end()
        current.append((step, time.perf_counter()))
        if status is not None:
            status.update(step)

    if status is not None:
        status.start()
    try:
        yield tell
        end()
    finally:
        if status is not None:
            status.stop()


@contextmanager
def bar() -> Iterator[Callable[[str, int, int], None]]:
    """Gives a function that is told what is done next, how many things are done, and of how many: a bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda name, done, total: progress.update(task, description=name, completed=done, total=total)
