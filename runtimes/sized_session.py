"""A small graph with little to do runs on one thread: waking another takes longer than it saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zen_edge.manifest import Graph
from zen_edge.runtimes.cores import usable_cores
from zen_edge.runtimes.large_session import LargeSession
from zen_edge.runtimes.providers import Provider
from zen_edge.runtimes.session import Session, Shapes

# Measured on the models that ship (4 and 5 million parameters): one thread is as fast as two up to 4 to 8 rows of a step and 8 to 16 tokens of an
# encoder. Where calls come one at a time, tens of milliseconds apart, a whole summary takes a fifth to a third less time, unless threads have processors of
# their own (`apart.py`).
SMALL = 2**23  # parameters; beyond that reading them keeps two threads busy. The second session holds them once more
LITTLE = 2**25  # parameters times rows


class SizedSession(LargeSession):
    """A session that is told how many rows it runs."""

    def __init__(self, path: Path, provider: Provider, threads: int | None, described: Graph, graph: bytes | None = None) -> None:
        """described: the graph in the manifest; the rest as for `Session`."""
        super().__init__(path, provider, threads, described, graph)
        parameters = described.parameters
        small = provider.device == "cpu" and not provider.binds and 0 < parameters <= SMALL and (threads or usable_cores()) > 1
        self._alone = Session(path, self.provider, 1, graph) if small else None
        self._few = LITTLE // parameters if small else 0

    def run(
        self,
        feeds: Mapping[str, Any],
        outputs: Sequence[str],
        on_device: frozenset[str] = frozenset(),
        shapes: Shapes | None = None,
        rows: int | None = None,
    ) -> dict[str, Any]:
        """rows: batch times length; None: many."""
        if self._alone is not None and rows is not None and rows <= self._few:
            return self._alone.run(feeds, outputs, on_device, shapes)
        return super().run(feeds, outputs, on_device, shapes)
