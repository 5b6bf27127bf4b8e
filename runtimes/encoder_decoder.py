"""An encoder-decoder bundle as a step function: the encoder once per input, the decoder once per word, keys and values in place between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_edge.errors import InputError
from zen_edge.manifest import STATES_MASK, Graph, Manifest
from zen_edge.runtimes.batching import close_lengths, pad_features
from zen_edge.runtimes.beams import Writers, move, written
from zen_edge.runtimes.cores import usable_cores
from zen_edge.runtimes.decoding.step import Ids, StepScores
from zen_edge.runtimes.providers import Device, Provider, find_provider
from zen_edge.runtimes.session import Session, Shapes
from zen_edge.runtimes.sized_session import SizedSession


@dataclass(frozen=True)
class Cache:
    """What decoding remembers between steps; a value, used up where its rows change places.

    cross: cross-attention keys and values of every layer, (B,N,T,H). past: self-attention's, (R,N,P,H); arrays after a cut on the CPU. mask: (B,T), None where
    every key is seen. R is a multiple of B. writers: as in `beams`, of as many words as there were when beams last changed places.
    """

    cross: dict[str, Any]
    past: dict[str, Any]
    mask: NDArray[np.int64] | None
    rows: int
    length: int
    writers: Writers | None = None


class EncoderDecoder:
    """The graphs of an encoder-decoder bundle."""

    def __init__(self, folder: Path, manifest: Manifest, device: Device, threads: int | None, graphs: Mapping[str, bytes] | None = None) -> None:
        """graphs: what to run in the place of a graph's file, by its name."""
        provider = find_provider(device)

        def opened(graph: Graph) -> SizedSession:
            return self._open(folder, graph, provider, threads, (graphs or {}).get(graph.name))

        self._encoder, self._decoder, self._reorder = (opened(manifest.graph(name)) for name in ("encoder", "decoder", "reorder"))
        self._cut = next((opened(graph) for graph in manifest.graphs if graph.name == "cut"), None) if provider.binds else None
        self.vocab_size = manifest.limits["vocab_size"]
        self.max_target_length = manifest.limits.get("max_target_length")
        self._past = tuple(name for name in self._decoder.inputs if name.startswith("past_"))
        self._cross = tuple(name for name in self._decoder.inputs if name.startswith("cross_"))
        self._present = tuple(name.replace("past_", "present_") for name in self._past)
        self._moved = tuple(name.replace("past_", "moved_") for name in self._past)
        self._queries = tuple(name for name in self._decoder.outputs if name.startswith("cross_query_"))
        self._kept = frozenset((*self._cross, *self._present, *self._moved, "logits"))  # scores of all words are read by few rules only
        _, heads, _, head_size = next(tensor.shape for tensor in manifest.graph("decoder").inputs if tensor.name == self._past[0])
        self._head_shape = (int(heads), int(head_size))
        self._binds = provider.binds  # keys and values stay where they are made
        self._threads = threads or usable_cores()
        self._in_parts = provider.device == "cpu" and not provider.binds

    def _open(self, folder: Path, graph: Graph, provider: Provider, threads: int | None, given: bytes | None) -> SizedSession:
        return SizedSession(folder / graph.file, replace(provider, cuda_graphs=False), threads, graph, given)

    @property
    def sessions(self) -> tuple[Session, ...]:
        return self._encoder, self._decoder, self._reorder, *(() if self._cut is None else (self._cut,))

    def encode(self, ids: Ids, mask: NDArray[np.int64]) -> Cache:
        """ids and mask (B,T) -> the cache that decoding starts from, one row per input."""
        lengths = mask.sum(axis=1)
        parts = close_lengths(lengths, self._threads) if self._in_parts and len(ids) > 1 else []
        cross = self._encode_parts(ids, mask, [(part, lengths[part[-1]]) for part in parts]) if len(parts) > 1 else self._encode(ids, mask)
        return Cache(cross, self._empty(len(ids)), mask, len(ids), 0)

    def encode_features(self, features: NDArray[np.float32]) -> Cache:
        """features (B,C,F) of audio -> the same."""
        cross = self._encoder.run({"input_features": features}, self._cross, self._kept)
        return Cache(cross, self._empty(len(features)), None, len(features), 0)

    def encode_utterances(self, rows: Sequence[NDArray[np.float32]]) -> Cache:
        """rows: features of one utterance each, (F,) or (F,n), padded here -> the same."""
        features, mask = pad_features(rows)
        name = next(name for name in self._encoder.inputs if name != "attention_mask")
        found = self._encoder.run({name: features, "attention_mask": mask}, (*self._cross, STATES_MASK), self._kept)
        return Cache({name: found[name] for name in self._cross}, self._empty(len(rows)), found[STATES_MASK].numpy(), len(rows), 0)

    def select(self, cache: Cache, inputs: Ids) -> Cache:
        """The cache before the first step, of some of its inputs."""
        return replace(self._moved_to(cache, None, inputs), past=self._empty(len(inputs)), rows=len(inputs))

    def step(
        self, ids: Ids, cache: Cache, *, top_k: int, log_sum_exp: bool, beam_index: Ids | None = None, input_index: Ids | None = None
    ) -> tuple[StepScores, Cache]:
        """One decoder step, as `decoding.step.Step` asks for it. InputError when the model has no position for a further word."""
        found, cache = self._run(ids, self._moved_to(cache, beam_index, input_index), top_k, log_sum_exp)
        return _scores_at(found, (slice(None), -1)), cache

    def step_each(self, ids: Ids, cache: Cache, *, top_k: int, log_sum_exp: bool) -> tuple[list[StepScores], Cache]:
        """The scores after each of ids (1,S), as `decoding.draft.Verifier` asks for them."""
        found, cache = self._run(ids, cache, top_k, log_sum_exp)
        return [_scores_at(found, (slice(None), position)) for position in range(ids.shape[1])], cache

    def follow(self, ids: Ids, cache: Cache) -> tuple[NDArray[np.float32], dict[int, NDArray[np.float32]]]:
        """One step of ids (B,S) from the beginning -> logits (B,S,V), and by layer the queries of cross-attention (B,S,D) that the graph returns."""
        found = self._decoder.run(self._feeds(ids, cache, 1, False), ("logits", *self._queries))
        return found["logits"].numpy(), {int(name.rpartition("_")[2]): found[name].numpy() for name in self._queries}

    def cut(self, cache: Cache, length: int) -> Cache:
        """The cache as it was when it held `length` positions: where it lies if the bundle has a graph for that, else through the CPU."""
        if self._cut is None:
            past = {name: np.ascontiguousarray(value.numpy()[:, :, :length]) for name, value in cache.past.items()}
        else:
            past = self._moved_by(self._cut, {"length": np.array([length])}, cache.past, self._shapes(self._moved, cache.rows, length))
        return Cache(cache.cross, past, cache.mask, cache.rows, length)

    def positions_left(self, cache: Cache) -> float:
        return inf if self.max_target_length is None else self.max_target_length - cache.length

    def _encode(self, ids: Ids, mask: NDArray[np.int64]) -> dict[str, Any]:
        return self._encoder.run({"input_ids": ids, "attention_mask": mask}, self._cross, self._kept, rows=ids.size)

    def _encode_parts(self, ids: Ids, mask: NDArray[np.int64], parts: Sequence[tuple[Sequence[int], int]]) -> dict[str, Any]:
        """The same keys and values of words, by a call for each part, which is padded to its own longest input, whose length it comes with; 0 beyond."""
        heads, head_size = self._head_shape
        cross: dict[str, Any] = {}
        for part, longest in parts:
            found = self._encode(np.ascontiguousarray(ids[part, :longest]), np.ascontiguousarray(mask[part, :longest]))
            for name in self._cross:
                values = found.pop(name).numpy()
                if name not in cross:
                    cross[name] = np.zeros((len(ids), heads, ids.shape[1], head_size), values.dtype)
                cross[name][part, :, :longest] = values
        return cross

    def _run(self, ids: Ids, cache: Cache, top_k: int, log_sum_exp: bool) -> tuple[dict[str, Any], Cache]:
        R, S = ids.shape
        if self.positions_left(cache) < S:
            raise InputError(
                f"the output reached {cache.length} tokens, and the model has no position for another ({self.max_target_length}): lower max_new_tokens."
            )
        found = self._decoder.run(
            self._feeds(ids, cache, top_k, log_sum_exp),
            ("top_scores", "top_ids", "logits", *(("log_sum_exp",) if log_sum_exp else ()), *self._present),
            self._kept,
            self._shapes(self._present, R, cache.length + S),
            rows=ids.size,
        )
        past = dict(zip(self._past, map(found.__getitem__, self._present), strict=True))
        return found, replace(cache, past=past, rows=R, length=cache.length + S)

    @staticmethod
    def _feeds(ids: Ids, cache: Cache, top_k: int, log_sum_exp: bool) -> dict[str, Any]:
        return {
            "input_ids": np.ascontiguousarray(ids, np.int64),
            **({} if cache.mask is None else {"attention_mask": cache.mask}),
            "top_k": np.array([top_k], np.int64),
            "want_log_sum_exp": np.array(log_sum_exp),
            **cache.cross,
            **cache.past,
        }

    def _moved_to(self, cache: Cache, beam_index: Ids | None, input_index: Ids | None) -> Cache:
        """The cache of the rows and inputs that go on."""
        if input_index is not None:
            moved = self._gather(dict(zip(self._past, cache.cross.values(), strict=True)), input_index)
            cross = dict(zip(self._cross, moved.values(), strict=True))
            cache = replace(cache, cross=cross, mask=None if cache.mask is None else np.ascontiguousarray(cache.mask[input_index]))
        if beam_index is not None:
            cache = self._rows_moved(cache, beam_index)
        return cache

    def _rows_moved(self, cache: Cache, rows: Ids) -> Cache:
        if not cache.length:
            return replace(cache, past=self._empty(len(rows)), rows=len(rows))
        if self._binds:
            return replace(cache, past=self._gather(cache.past, rows, self._shapes(self._moved, len(rows), cache.length)), rows=len(rows))
        writers = written(cache.writers, cache.rows, cache.length)
        in_place = len(rows) == cache.rows and (views := _views(cache.past)) and move(views, rows, writers)
        return replace(cache, past=cache.past if in_place else self._gather(cache.past, rows), rows=len(rows), writers=writers[rows])

    def _gather(self, values: dict[str, Any], rows: Ids, shapes: Shapes | None = None) -> dict[str, Any]:
        return self._moved_by(self._reorder, {"beam_index": np.ascontiguousarray(rows, np.int64)}, values, shapes)

    def _moved_by(self, session: Session, told: Mapping[str, Ids], values: dict[str, Any], shapes: Shapes | None) -> dict[str, Any]:
        """values: by the names of `past`."""
        found = session.run({**told, **values}, self._moved, self._kept, shapes)
        return dict(zip(values, found.values(), strict=True))

    def _shapes(self, names: Sequence[str], rows: int, length: int) -> Shapes | None:
        """Of keys and values of so many positions, where outputs are bound by them."""
        if not self._binds:
            return None
        heads, head_size = self._head_shape
        return dict.fromkeys(names, (rows, heads, length, head_size))

    def _empty(self, rows: int) -> dict[str, Any]:
        """Keys and values before the first word, (R,N,0,H)."""
        heads, head_size = self._head_shape
        return dict.fromkeys(self._past, self._decoder.empty((rows, heads, 0, head_size), self._past[0]))


def _views(past: Mapping[str, Any]) -> list[NDArray[Any]]:
    """Arrays in whose place the values lie; none where they can't be had so."""
    if any(isinstance(value, np.ndarray) for value in past.values()):
        return []
    views = {name: value.numpy() for name, value in past.items()}
    return list(views.values()) if all(past[name].data_ptr() == view.ctypes.data for name, view in views.items()) else []


def _scores_at(found: dict[str, Any], at: tuple[slice, int]) -> StepScores:
    """The decoder's outputs (R,S,...) at one position."""
    return StepScores(
        top_scores=found["top_scores"].numpy()[at],
        top_ids=found["top_ids"].numpy()[at],
        log_sum_exp=found["log_sum_exp"].numpy()[at] if "log_sum_exp" in found else None,
        logits=lambda: found["logits"].numpy()[at],
    )
