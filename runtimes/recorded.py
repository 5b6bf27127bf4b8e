"""An encoder-decoder bundle whose steps are recorded in CUDA graphs: keys and values have places that stay theirs and room for more words than there are.

ONNX Runtime records a run under a number and replays it, without looking at its inputs, where they lay (`enable_cuda_graph`, `gpu_graph_id`). So whatever a step reads and writes
lies in a `Lot`, with room for so many rows and words; lots are taken by the next text when nobody holds them any more, and with them what was recorded. What comes once in a text is not
recorded: its first step, and what moves keys and values to a lot with more room or other rows. A step writes its words into the lot that it reads; of beams that change places the
keys and values go to another lot, and the two take turns.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_edge.errors import InputError
from zen_edge.manifest import GROW, STATES_MASK, STEP, Graph, Manifest
from zen_edge.runtimes.batching import pad_features
from zen_edge.runtimes.decoding.step import Ids, StepScores
from zen_edge.runtimes.encoder_decoder import Cache, EncoderDecoder
from zen_edge.runtimes.large_session import LargeSession
from zen_edge.runtimes.lots import Held, Lots
from zen_edge.runtimes.providers import Device, Provider, find_provider
from zen_edge.runtimes.session import Session

LEAST_SOURCE, LEAST_WORDS = 32, 64  # what sizes are rounded up to, and then to powers of two: every other size is another recording
MOST_PLACES = 64
ONE_AT_A_TIME = RLock()  # while a run is recorded, no other thread of the process may ask CUDA for memory or wait for it


def room(size: int, least: int, most: int | None = None) -> int:
    """A power of two from `least`, or `most`, with room for `size`."""
    rounded = max(least, 1 << (size - 1).bit_length())
    return rounded if most is None or size > most else min(rounded, most)


class RecordedDecoder(EncoderDecoder):
    """The graphs of a bundle with a step of fixed shapes. One step at a time in all threads."""

    least_words = LEAST_WORDS

    def __init__(self, folder: Path, manifest: Manifest, device: Device, threads: int | None) -> None:
        super().__init__(folder, manifest, device, threads)
        self._longest_source = manifest.limits.get("max_source_length")
        self._grow = Session(folder / GROW, replace(self._encoder.provider, cuda_graphs=False), threads)
        self._lots = Lots()
        self._places: dict[Hashable, Any] = {}  # what is the same for all texts: zeros to begin with, numbers of places
        self._states: dict[tuple[int, ...], int] = {}  # by the shape of what an encoder reads, how many states it makes of each

    def _open(self, folder: Path, graph: Graph, provider: Provider, threads: int | None, given: bytes | None) -> Any:
        if graph.name == "encoder":
            return super()._open(folder, graph, provider, threads, given)
        return LargeSession(folder / (STEP if graph.name == "decoder" else graph.file), provider, threads, graph)

    @property
    def sessions(self) -> tuple[Session, ...]:
        return *super().sessions, self._grow

    def encode(self, ids: Ids, mask: NDArray[np.int64]) -> Cache:
        more = room(ids.shape[1], LEAST_SOURCE, self._longest_source) - ids.shape[1]
        ids, mask = np.pad(ids, ((0, 0), (0, more)), mode="edge"), np.pad(mask, ((0, 0), (0, more)))
        with ONE_AT_A_TIME:
            cross = self._cross_lot(len(ids), ids.shape[1])
            self._run_encoder({"input_ids": ids, "attention_mask": mask}, cross)
            return self._started(cross, mask)

    def encode_features(self, features: NDArray[np.float32]) -> Cache:
        with ONE_AT_A_TIME:
            given = {"input_features": features}
            cross = self._cross_lot(len(features), self._states_of(given))
            self._run_encoder(given, cross)
            return Cache(cross, {}, None, len(features), 0)

    def encode_utterances(self, rows: Sequence[NDArray[np.float32]]) -> Cache:
        features, mask = pad_features(rows)
        more = room(mask.shape[1], LEAST_SOURCE, self._longest_source) - mask.shape[1]
        features = np.pad(features, ((0, 0), (0, more), *((0, 0),) * (features.ndim - 2)))
        name = next(name for name in self._encoder.inputs if name != "attention_mask")
        given: dict[str, NDArray[Any]] = {name: features, "attention_mask": np.pad(mask, ((0, 0), (0, more)))}
        with ONE_AT_A_TIME:
            cross = self._cross_lot(len(rows), self._states_of(given))
            seen = self._encoder.place_like(STATES_MASK, cross["attention_mask"].shape())
            self._run_encoder(given, cross, {STATES_MASK: seen})
            return self._started(cross, np.array(seen.numpy()))

    def select(self, cache: Cache, inputs: Ids) -> Cache:
        with ONE_AT_A_TIME:
            return replace(self._moved_to(cache, None, inputs), past={}, rows=len(inputs), length=0)

    def step(
        self, ids: Ids, cache: Cache, *, top_k: int, log_sum_exp: bool, beam_index: Ids | None = None, input_index: Ids | None = None
    ) -> tuple[StepScores, Cache]:
        with ONE_AT_A_TIME:
            return super().step(ids, cache, top_k=top_k, log_sum_exp=log_sum_exp, beam_index=beam_index, input_index=input_index)

    def step_each(self, ids: Ids, cache: Cache, *, top_k: int, log_sum_exp: bool) -> tuple[list[StepScores], Cache]:
        with ONE_AT_A_TIME:
            return super().step_each(ids, cache, top_k=top_k, log_sum_exp=log_sum_exp)

    def follow(self, ids: Ids, cache: Cache) -> tuple[NDArray[np.float32], dict[int, NDArray[np.float32]]]:
        with ONE_AT_A_TIME:
            words = room(ids.shape[1], self.least_words)
            told = {"positions": np.arange(ids.shape[1]), "key_positions": np.arange(words)}
            past = dict.fromkeys(self._past, self._zeros(len(ids), words))
            feeds = {"input_ids": np.ascontiguousarray(ids), "top_k": np.array([1]), **self._of_source(cache), **past, **told}
            # Read before anything is replayed, which may write where these lie.
            found = {name: value.numpy() for name, value in self._decoder.run(feeds, ("logits", *self._queries)).items()}
        return found["logits"], {int(name.rpartition("_")[2]): found[name] for name in self._queries}

    def cut(self, cache: Cache, length: int) -> Cache:
        assert isinstance(cache.past, Held)
        return replace(cache, past=cache.past.after(length), length=length)  # what stands behind is never seen, and written over

    def _run(self, ids: Ids, cache: Cache, top_k: int, log_sum_exp: bool) -> tuple[dict[str, Any], Cache]:
        R, S = ids.shape
        if self.positions_left(cache) < S:
            raise InputError(
                f"the output reached {cache.length} tokens, and the model has no position for another ({self.max_target_length}): lower max_new_tokens."
            )
        past = self._roomy(cache, S)
        found = self._ran(ids, cache, past, top_k)
        values = {name: _Read(value) for name, value in found.items() if log_sum_exp or name != "log_sum_exp"}
        return values, Cache(cache.cross, past.after(cache.length), cache.mask, R, cache.length + S)

    def _ran(self, ids: Ids, cache: Cache, past: Held, top_k: int) -> dict[str, Any]:
        """One step in the places of `past` -> its outputs in places that the next may write into."""
        S, first = ids.shape[1], cache.length == 0
        assert isinstance(cache.cross, Held)
        key = (cache.cross.lot, top_k)
        if first or S > 1 or key not in past.lot.runs:
            made = self._step_places(cache, past, S, top_k, first)
            if not first and S == 1:
                past.lot.runs[key] = made
                past.lot.is_recorded = cache.cross.lot.is_recorded = True
        else:
            made = past.lot.runs[key]
        given, outputs, run = made
        given["input_ids"].update_inplace(np.ascontiguousarray(ids, np.int64))
        given["positions"].update_inplace(np.arange(cache.length, cache.length + S))
        run()
        return outputs

    def _step_places(self, cache: Cache, past: Held, S: int, top_k: int, first: bool) -> tuple[dict[str, Any], dict[str, Any], Callable[[], None]]:
        """The inputs that are written before each run, the outputs that are read after it, and the run."""
        R, words = cache.rows, past[self._past[0]].shape()[2]
        step = self._decoder
        given = {"input_ids": step.place_like("input_ids", (R, S)), "positions": step.place_like("positions", (S,))}
        shapes = {"logits": (R, S, self.vocab_size), "top_scores": (R, S, top_k), "top_ids": (R, S, top_k), "log_sum_exp": (R, S)}
        outputs = {name: step.place_like(name, shape) for name, shape in shapes.items()}
        wanted = self._place(("top_k", top_k), lambda: step.on_cpu(np.array([top_k])))
        keys = self._place(("key_positions", words), lambda: self._told("key_positions", np.arange(words)))
        before = dict.fromkeys(self._past, self._zeros(R, words)) if first else {name: past[name] for name in self._past}
        inputs = {**given, **self._of_source(cache), **before, "key_positions": keys, "top_k": wanted}
        present = {name: past[before] for name, before in zip(self._present, self._past, strict=True)}
        return given, outputs, step.record(inputs, {**outputs, **present}, again=not first and S == 1)

    def _roomy(self, cache: Cache, S: int) -> Held:
        """A lot with room for S words after those of `cache`, which nobody else goes on from."""
        needed = cache.length + S
        if not cache.length:
            return self._past_lot(cache.rows, room(needed, self.least_words))
        past = cache.past
        assert isinstance(past, Held)
        assert past.holds(cache.length)
        if not past.is_last:
            past = self._moved_past(past, np.arange(cache.rows))
        while (words := past[self._past[0]].shape()[2]) < needed:
            more = self._past_lot(cache.rows, 2 * words)
            outputs = {moved: more[name] for moved, name in zip(self._moved, self._past, strict=True)}
            self._grow.record({name: past[name] for name in self._past}, outputs, again=False)()
            past = more
        return past

    def _moved_to(self, cache: Cache, beam_index: Ids | None, input_index: Ids | None) -> Cache:
        if input_index is not None:
            cross = self._cross_lot(len(input_index), cache.cross[self._cross[0]].shape()[2])
            inputs = {past: cache.cross[name] for past, name in zip(self._past, self._cross, strict=True)}
            outputs = {moved: cross[name] for moved, name in zip(self._moved, self._cross, strict=True)}
            rows = self._reorder.on_cpu(np.asarray(input_index, np.int64))
            self._reorder.record({"beam_index": rows, **inputs}, outputs, again=False)()
            mask = None if cache.mask is None else np.ascontiguousarray(cache.mask[input_index])
            cache = replace(cache, cross=self._started(cross, mask).cross, mask=mask)
        if beam_index is not None:
            past = self._moved_past(cache.past, beam_index) if cache.length else {}
            cache = replace(cache, past=past, rows=len(beam_index))
        return cache

    def _moved_past(self, past: Mapping[str, Any], rows: Ids) -> Held:
        assert isinstance(past, Held)
        after = self._past_lot(len(rows), past[self._past[0]].shape()[2])
        key = past.lot
        if key not in after.lot.runs:
            index = self._reorder.place_like("beam_index", (len(rows),))
            inputs = {"beam_index": index, **{name: past[name] for name in self._past}}
            outputs = {moved: after[name] for moved, name in zip(self._moved, self._past, strict=True)}
            again = past.lot.key == after.lot.key  # rows that leave do so once
            after.lot.runs[key] = index, self._reorder.record(inputs, outputs, again=again)
            after.lot.is_recorded |= again
        index, run = after.lot.runs[key]
        index.update_inplace(np.ascontiguousarray(rows, np.int64))
        run()
        return after

    def _run_encoder(self, given: Mapping[str, NDArray[Any]], cross: Held, more: Mapping[str, Any] | None = None) -> None:
        inputs = {name: self._encoder.on_cpu(value) for name, value in given.items()}
        self._encoder.record(inputs, {**{name: cross[name] for name in self._cross}, **(more or {})}, again=False)()

    def _states_of(self, given: Mapping[str, NDArray[Any]]) -> int:
        """How many states the encoder makes of features; it is run once for each length to be known."""
        key = next(iter(given.values())).shape
        if key not in self._states:
            found = self._encoder.run(given, self._cross[:1], self._kept)[self._cross[0]]
            self._states[key] = int(found.shape()[2])
        return self._states[key]

    def _started(self, cross: Held, mask: NDArray[np.int64] | None) -> Cache:
        if mask is not None:
            cross["attention_mask"].update_inplace(np.ascontiguousarray(mask))
        return Cache(cross, {}, mask, cross[self._cross[0]].shape()[0], 0)

    def _of_source(self, cache: Cache) -> dict[str, Any]:
        return {name: value for name, value in cache.cross.items() if name in self._decoder.inputs}

    def _cross_lot(self, inputs: int, length: int) -> Held:
        heads, head_size = self._head_shape
        shape = (inputs, heads, length, head_size)

        def make() -> dict[str, Any]:
            mask = (
                {"attention_mask": self._decoder.place_like("attention_mask", (inputs, length))} if "attention_mask" in self._decoder.inputs else {}
            )
            return {name: self._decoder.place_like(name, shape) for name in self._cross} | mask

        return self._lots.take(("cross", shape), make)

    def _past_lot(self, rows: int, words: int) -> Held:
        heads, head_size = self._head_shape
        shape = (rows, heads, words, head_size)
        return self._lots.take(("past", shape), lambda: {name: self._decoder.place_like(name, shape) for name in self._past})

    def _zeros(self, rows: int, words: int) -> Any:
        """What every text begins with, so that nothing of one before is left in its lot."""
        heads, head_size = self._head_shape
        shape = (rows, heads, words, head_size)

        def make() -> Any:
            value = self._decoder.place_like(self._past[0], shape)
            value.update_inplace(np.zeros_like(value.numpy()))
            return value

        return self._place(("zeros", shape), make)

    def _told(self, name: str, array: NDArray[np.int64]) -> Any:
        value = self._decoder.place_like(name, array.shape)
        value.update_inplace(array)
        return value

    def _place(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self._places and len(self._places) >= MOST_PLACES:
            self._places.clear()  # what is read from them keeps them
        if key not in self._places:
            self._places[key] = make()
        return self._places[key]


class _Read:
    """An output that the next step writes over: what is asked for now is copied."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def numpy(self) -> NDArray[Any]:
        with ONE_AT_A_TIME:
            return np.array(self._value.numpy())


def open_encoder_decoder(folder: Path, manifest: Manifest, device: Device, threads: int | None) -> EncoderDecoder:
    """The graphs of a bundle, their steps recorded where the provider is asked to."""
    opened = RecordedDecoder if find_provider(device).cuda_graphs else EncoderDecoder
    return opened(folder, manifest, device, threads)
