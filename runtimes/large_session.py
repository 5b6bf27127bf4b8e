"""A large graph is opened without reading its weights: they stay in the bundle's file, which is mapped, and are packed for its products when it first runs.

What is packed is a copy in the order in which products of several rows read it; without one every product lays its weights out anew. BART shape with 288 M
parameters in fp32, one thread, 32 words: greedy 1.39 s mapped and 1.25 s packed, with 4 beams 4.5 and 1.5 s, 8 inputs at once 10 and 2.3 s; opening takes
0.2 and 1.4 s. Right after opening 81 and 1,370 MB of memory are taken, after the first run 1,206 and 1,403 MB; mapped pages are given back where
memory is short, and read again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from zen_edge.errors import OptionError
from zen_edge.manifest import Graph
from zen_edge.runtimes import memory
from zen_edge.runtimes.providers import Provider, for_graph
from zen_edge.runtimes.session import Session, Shapes

SPARE = 1.25  # times the graph's bytes: what packing must find free


class LargeSession(Session):
    """A session that packs its weights at the first run, if its graph is large and nothing else was asked for around its opening."""

    def __init__(self, path: Path, provider: Provider, threads: int | None, described: Graph, graph: bytes | None = None) -> None:
        """described: the graph in the manifest; the rest as for `Session`. OptionError for mapping where the provider copies weights to its own memory."""
        provider, size = for_graph(provider, described), described.size
        mode, on_cpu = memory.mode(), provider.device == "cpu"
        if mode == "mapped" and not on_cpu:
            raise OptionError(f"memory 'mapped' is for the CPU; {provider.device} copies the weights to its own memory: leave it out.")
        mapped = on_cpu and (mode == "mapped" or (mode == "auto" and size >= memory.LARGE))
        self._turns = memory.turns() if mapped else None
        if self._turns is not None:
            self._turns.take(self)
        self._begin = partial(
            Session.__init__, path=path, provider=provider, threads=threads, graph=graph, packed=not mapped
        )  # without self, which would never be freed
        self._begin(self)
        self._size = size if mapped and mode == "auto" else 0
        self._open = partial(Session, path, provider, threads, graph)
        self._packing = Lock()
        self._packed: Session | None = None

    def run(
        self, feeds: Mapping[str, Any], outputs: Sequence[str], on_device: frozenset[str] = frozenset(), shapes: Shapes | None = None
    ) -> dict[str, Any]:
        if self._turns is not None:
            self._turns.take(self)
            if self._session is None:
                self._begin(self)
        if self._size:
            with self._packing:  # by one thread, once
                if self._size and memory.room() >= SPARE * self._size:
                    self._packed = self._open()
                self._size = 0
        return super().run(feeds, outputs, on_device, shapes) if self._packed is None else self._packed.run(feeds, outputs, on_device, shapes)

    def rest(self) -> None:
        """Close the graph until the next run."""
        self._session = None
