"""A bundle of an encoder and a step as a step function: what the encoder says once per input, the states of the rows in place between steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_edge.manifest import Graph, Manifest
from zen_edge.runtimes.decoding.step import Ids, StepScores
from zen_edge.runtimes.providers import Device, find_provider
from zen_edge.runtimes.session import Session, Shapes
from zen_edge.runtimes.sized_session import SizedSession


@dataclass(frozen=True)
class Remembered:
    """What decoding remembers between steps; a value, never changed. memory: what the encoder made, the same for every row of one input; state: what the
    last step left; mask (R,T)."""

    memory: dict[str, Any]
    state: dict[str, Any]
    mask: NDArray[np.int64]


class EncoderStep:
    """The graphs of such a bundle."""

    def __init__(self, folder: Path, manifest: Manifest, device: Device, threads: int | None, graphs: Mapping[str, bytes] | None = None) -> None:
        """graphs: what to run in the place of a graph's file, by its name."""
        provider = find_provider(device)

        def opened(graph: Graph) -> SizedSession:
            return SizedSession(folder / graph.file, provider, threads, graph, (graphs or {}).get(graph.name))

        self._encoder, self._decoder, self._reorder = (opened(manifest.graph(name)) for name in ("encoder", "decoder", "reorder"))
        self._share = next((opened(graph) for graph in manifest.graphs if graph.name == "share"), None)
        self.vocab_size = manifest.limits["vocab_size"]
        self.is_padded = bool(manifest.limits.get("padded", 0))
        self._state = tuple(name for name in self._decoder.inputs if name.startswith("past_"))
        self._memory = tuple(name for name in self._decoder.inputs if name.startswith("cross_"))
        self._present = tuple(name.replace("past_", "present_", 1) for name in self._state)
        moved = (*self._state, *self._memory)
        self._moved = {name: f"moved_{name.partition('_')[2]}" for name in moved}
        self._kept = frozenset((*moved, *self._present, *self._moved.values(), "logits"))  # scores of all words are read by few rules only
        self._sizes = {output.name: output.shape for graph in manifest.graphs for output in graph.outputs} if provider.binds else {}

    @property
    def sessions(self) -> tuple[Session, ...]:
        return self._encoder, self._decoder, self._reorder, *(() if self._share is None else (self._share,))

    def encode(self, ids: Ids, mask: NDArray[np.int64]) -> Remembered:
        """ids and mask (B,T) -> what decoding starts from, one row per input."""
        feeds = {"input_ids": ids, "attention_mask": mask}
        found = self._encoder.run({name: feeds[name] for name in self._encoder.inputs}, (*self._memory, *self._state), self._kept, rows=ids.size)
        return Remembered({name: found[name] for name in self._memory}, {name: found[name] for name in self._state}, mask)

    def step(
        self, ids: Ids, cache: Remembered, *, top_k: int, log_sum_exp: bool, beam_index: Ids | None = None, input_index: Ids | None = None
    ) -> tuple[StepScores, Remembered]:
        """One step, or as many as `ids` has columns, as `decoding.step.Step` asks for it."""
        cache = self._moved_to(cache, beam_index, input_index)
        outputs = ("top_scores", "top_ids", "logits", *(("log_sum_exp",) if log_sum_exp else ()))
        for column in range(ids.shape[1] - 1):
            cache = replace(cache, state=self._after(self._run(ids[:, column], cache, 1, False, ())))
        found = self._run(ids[:, -1], cache, top_k, log_sum_exp, outputs)
        scores = StepScores(
            top_scores=found["top_scores"].numpy()[:, -1],
            top_ids=found["top_ids"].numpy()[:, -1],
            log_sum_exp=found["log_sum_exp"].numpy()[:, -1] if log_sum_exp else None,
            logits=lambda: found["logits"].numpy()[:, -1],
        )
        return scores, replace(cache, state=self._after(found))

    def positions_left(self, cache: Remembered) -> float:
        return inf

    def _run(self, ids: NDArray[np.int64], cache: Remembered, top_k: int, log_sum_exp: bool, outputs: tuple[str, ...]) -> dict[str, Any]:
        feeds: dict[str, Any] = {
            "input_ids": np.ascontiguousarray(ids, np.int64),
            "attention_mask": cache.mask,
            "top_k": np.array([top_k], np.int64),
            "want_log_sum_exp": np.array(log_sum_exp),
            **cache.memory,
            **cache.state,
        }
        shapes = self._shapes(self._present, len(ids), cache)
        return self._decoder.run({name: feeds[name] for name in self._decoder.inputs}, (*outputs, *self._present), self._kept, shapes, rows=len(ids))

    def _shapes(self, names: Iterable[str], rows: int, cache: Remembered) -> Shapes | None:
        """Of so many rows, where outputs are bound by them: each then lies in a place that is used again. Those with axes that nothing tells are left out."""
        known = {"R": rows, "R'": rows, "T": cache.mask.shape[1]}
        found = {name: tuple(known.get(size, -1) if isinstance(size, str) else size for size in self._sizes[name]) for name in names if self._sizes}
        return {name: shape for name, shape in found.items() if -1 not in shape} or None

    def _after(self, found: Mapping[str, Any]) -> dict[str, Any]:
        return {name: found[present] for name, present in zip(self._state, self._present, strict=True)}

    def _moved_to(self, cache: Remembered, beam_index: Ids | None, input_index: Ids | None) -> Remembered:
        """Of the rows that go on. The memory of a row is that of its input: it moves only where there are more rows than before, or fewer."""
        if beam_index is None:
            return cache
        rows = np.ascontiguousarray(beam_index, np.int64)
        cache = replace(cache, state=self._gather(self._reorder, cache.state, rows, cache))
        if len(rows) == len(cache.mask) and input_index is None:
            return cache
        return replace(cache, memory=self._gather(self._share, cache.memory, rows, cache), mask=np.ascontiguousarray(cache.mask[rows]))

    def _gather(self, session: SizedSession | None, values: dict[str, Any], rows: Ids, cache: Remembered) -> dict[str, Any]:
        if session is None or not values:
            return values
        names = [self._moved[name] for name in values]
        found = session.run({"beam_index": rows, **values}, names, self._kept, self._shapes(names, len(rows), cache))
        return dict(zip(values, found.values(), strict=True))
