"""Where the weights of large graphs lie: in the bundle's file, mapped, or copied into memory in the order in which products read them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from pathlib import Path
from typing import Protocol
from weakref import WeakSet

from zen_edge.errors import OptionError
from zen_edge.manifest import Manifest
from zen_edge.runtimes.cores import own_cgroups


class Rests(Protocol):
    def rest(self) -> None: ...


MODES = ("auto", "mapped", "packed")
LARGE = 2**29  # bytes of a graph; smaller ones are packed when they are opened, in well under a second
_mode: ContextVar[str] = ContextVar("zen_edge_memory", default="auto")
_turns: ContextVar[Turns | None] = ContextVar("zen_edge_memory_turns", default=None)


def mode() -> str:
    return _mode.get()


@contextmanager
def keeping(chosen: str | None) -> Iterator[None]:
    """Sessions opened in the block keep the weights of large graphs as `chosen` says; None: as around it. OptionError for no such mode.

    auto: mapped, and packed by the first run where there is room. mapped: never packed. packed: when they are opened.
    """
    if chosen is not None and chosen not in MODES:
        raise OptionError(f"memory {chosen!r} is not known; there are: {', '.join(MODES)}.")
    before = _mode.set(_mode.get() if chosen is None else chosen)
    try:
        yield
    finally:
        _mode.reset(before)


class Turns:
    """Of mapped sessions and something else that is large, which are not to hold memory at the same time."""

    def __init__(self) -> None:
        self.begin: Callable[[], None] = lambda: None
        self._sessions: WeakSet[Rests] = WeakSet()

    def take(self, session: Rests) -> None:
        """`session` is about to open its graph, or to run."""
        self.begin()
        self._sessions.add(session)

    def rest(self) -> None:
        """Every session closes its graph; it opens it again when it runs."""
        for session in list(self._sessions):
            session.rest()

    @contextmanager
    def taken(self, begin: Callable[[], None]) -> Iterator[None]:
        """Sessions that are opened in the block take turns. begin: called each time before they open a graph or run."""
        self.begin = begin
        before = _turns.set(self)
        try:
            yield
        finally:
            _turns.reset(before)
            self.begin = lambda: None


def turns() -> Turns | None:
    return _turns.get()


def sparing(manifest: Manifest) -> str:
    """The mode for a bundle that is looked at beside its source: mapped, if it is large."""
    return "mapped" if any(graph.size >= LARGE for graph in manifest.graphs) else "auto"


def room() -> float:
    """Bytes that this process may still take: of the machine, of its cgroups, which give up file pages when they must, and of its own limits. inf where nothing tells."""
    found = [(limit - used) for limit, used in (*map(_of_cgroup, own_cgroups("memory")), *_own_limits())]
    if available := re.search(r"MemAvailable:\s+(\d+) kB", _text(Path("/proc/meminfo"))):
        found.append(1024.0 * int(available[1]))
    return min(found, default=inf)


def _of_cgroup(folder: Path) -> tuple[float, float]:
    """(limit, what of it cannot be given up)"""
    limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes") or inf
    used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes") or 0.0
    files = re.findall(r"^(?:in)?active_file (\d+)$", _text(folder / "memory.stat"), re.MULTILINE)
    return limit, used - sum(map(float, files))


def _own_limits() -> Iterator[tuple[float, float]]:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    pages = _text(Path("/proc/self/statm")).split()
    for limit, place in ((resource.RLIMIT_AS, 0), (resource.RLIMIT_DATA, 5)):
        soft = resource.getrlimit(limit)[0]
        if soft != resource.RLIM_INFINITY and pages:
            yield float(soft), float(pages[place]) * resource.getpagesize()


def _number(path: Path) -> float | None:
    """None for "max", and where there is no such file."""
    text = _text(path).strip()
    return float(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
