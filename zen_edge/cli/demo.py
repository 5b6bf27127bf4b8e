"""zen-edge demo"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zen_edge.cli import app
from zen_edge.cli.console import console
from zen_edge.cli.progress import steps

if TYPE_CHECKING:
    from rich.console import Console

    from zen_edge.demo import Demo


@app.command()
def demo(
    out: Annotated[Path | None, typer.Argument(help="Keep the bundles in this folder; it must not exist yet.")] = None,
) -> None:
    """Export the models that ship with zen-edge, check them, time them against PyTorch, translate and summarize."""
    from zen_edge.demo import demo as show
    from zen_edge.files import new_folder

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) if out is None else stack.enter_context(new_folder(out, force=False))
        tell = stack.enter_context(steps())
        shown = show(folder, tell)
    screen = console()
    for one in shown:
        _print(one, screen)
    if out is not None:
        bundle = out / f"{shown[0].task}-int8"
        screen.print(
            f'Bundles: {", ".join(f"{out}/{one.task}-fp32 and -int8" for one in shown)}. Try: zen-edge run {bundle} "tool to edit images"',
            highlight=False,
        )
    if not all(one.parity.passed and one.int8_parity.passed for one in shown):
        raise typer.Exit(3)


def _print(shown: Demo, screen: Console) -> None:
    from rich.table import Table

    from zen_edge.demo import BEAMS

    screen.print(f"\n{shown.task}", style="bold")
    tokens = shown.parity.tokens
    screen.print(f"fp32: {tokens.identical} of {tokens.total} outputs have the same tokens as PyTorch, {tokens.ties} part at a tie")
    for precision, report in (("fp32", shown.parity), ("int8", shown.int8_parity)):
        scores = "".join(f", {name} {score.bundle:.1f} (PyTorch {score.reference:.1f})" for name, score in report.text.items())
        screen.print(f"{precision}: parity {'holds' if report.passed else 'does NOT hold'}{scores}")
    table = Table(
        "engine", "MB on disk", "ms per line", "speed", title=f"one line at a time, beam {BEAMS}, median, interleaved", title_justify="left"
    )
    slowest = shown.milliseconds["PyTorch fp32"]
    for name, taken in shown.milliseconds.items():
        table.add_row(name, f"{shown.megabytes[name]:.1f}", f"{taken:.1f}", f"{slowest / taken:.1f}x")
    screen.print(table)
    for source, answer in shown.answers:
        screen.print(f"{source}\n    {answer}", highlight=False, markup=False)
