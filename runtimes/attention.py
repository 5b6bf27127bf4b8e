"""The weights of attention, from the graphs of a bundle that was exported with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_edge.attention_map import AttentionMap, attention_file
from zen_edge.errors import ZenEdgeError
from zen_edge.manifest import STATES_MASK, Manifest
from zen_edge.runtimes.batching import pad_features
from zen_edge.runtimes.encoder_decoder import Cache, EncoderDecoder
from zen_edge.runtimes.encoder_step import EncoderStep, Remembered
from zen_edge.runtimes.large_session import LargeSession
from zen_edge.runtimes.providers import Device, find_provider
from zen_edge.runtimes.session import Session
from zen_edge.runtimes.tokenization import Tokenizer

BLANK = "a blank text has nothing to attend to."

Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Attending:
    """Where a pipeline came from. Its graphs are opened a second time when they are asked for their attention, so that nothing is paid for it before."""

    folder: Path
    manifest: Manifest
    device: Device
    threads: int | None

    def graphs(self) -> dict[str, bytes]:
        """Those with attention among their outputs, by name. ZenEdgeError where the bundle does not keep it."""
        names = [graph.name for graph in self.manifest.graphs if attention_file(graph.name) in self.manifest.files]
        if not names:
            raise ZenEdgeError("this bundle does not keep the weights of attention: export it again with --with-attention.")
        # One message of protocol buffers after another is the message with the lists of both.
        return {
            name: b"".join((self.folder / file).read_bytes() for file in (self.manifest.graph(name).file, attention_file(name))) for name in names
        }

    def encoder_decoder(self) -> AttendingEncoderDecoder:
        return AttendingEncoderDecoder(self.folder, self.manifest, self.device, self.threads, self.graphs())

    def encoder_step(self) -> AttendingEncoderStep:
        return AttendingEncoderStep(self.folder, self.manifest, self.device, self.threads, self.graphs())

    def one_graph(self) -> AttendingGraph:
        """Of a bundle with one graph."""
        ((name, graph),) = self.graphs().items()
        described = self.manifest.graph(name)
        return AttendingGraph(LargeSession(self.folder / described.file, find_provider(self.device), self.threads, described, graph))


@dataclass(frozen=True)
class AttendingGraph:
    """The only graph of a bundle, with the weights of its attention."""

    session: Session

    def weights(self, feeds: Mapping[str, NDArray[Any]]) -> Weights:
        """feeds: what the graph reads. By kind, (B,L,N,S,T)."""
        return by_kind({name: value.numpy() for name, value in self.session.run(feeds, _outputs(self.session)).items()})


class AttendingEncoderDecoder(EncoderDecoder):
    """The graphs of an encoder-decoder bundle with the weights of their attention."""

    def weights(self, source: Mapping[str, NDArray[Any]], forced: NDArray[np.int64]) -> Weights:
        """source: what the encoder graph takes of B inputs. forced: what their decoders read (B,S), all in one step. By kind, (B,L,N,S,T)."""
        kept, made = _outputs(self._encoder), _outputs(self._decoder)
        masks = tuple(name for name in self._encoder.outputs if name == STATES_MASK)
        found = self._encoder.run(source, (*self._cross, *masks, *kept), self._kept)
        cross = {name: found[name] for name in self._cross}
        mask = found[STATES_MASK].numpy() if masks else source.get("attention_mask")
        cache = Cache(cross, self._empty(len(forced)), mask, len(forced), 0)
        found |= self._decoder.run(self._feeds(forced, cache, 1, False), made)
        return by_kind({name: found[name].numpy() for name in (*kept, *made)})

    def sound(self, rows: Sequence[NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        """What the encoder graph takes of the features of sounds."""
        if "attention_mask" not in self._encoder.inputs:
            return {self._encoder.inputs[0]: np.stack(rows)}
        features, mask = pad_features(rows)
        return {name: mask if name == "attention_mask" else features for name in self._encoder.inputs}


class AttendingEncoderStep(EncoderStep):
    """The graphs of an encoder and a step of one's own with the weights of their attention."""

    def weights(self, source: Mapping[str, NDArray[Any]], forced: NDArray[np.int64]) -> Weights:
        """As of an encoder-decoder; forced is read one column after another. "cross" is from each word to the source."""
        kept, made = _outputs(self._encoder), _outputs(self._decoder)
        first = self._encoder.run({name: source[name] for name in self._encoder.inputs}, (*self._memory, *self._state, *kept), self._kept)
        cache = Remembered({name: first[name] for name in self._memory}, {name: first[name] for name in self._state}, source["attention_mask"])
        found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in made}
        for column in forced.T:
            step = self._run(column, cache, 1, False, made)
            cache = replace(cache, state=self._after(step))
            for name in made:
                found[name].append(step[name].numpy())
        return by_kind({name: first[name].numpy() for name in kept} | {name: np.concatenate(values, axis=2) for name, values in found.items()})


def _outputs(graph: Session) -> tuple[str, ...]:
    return tuple(name for name in graph.outputs if name.partition("_attention_")[2].isdigit())


def by_kind(found: Mapping[str, NDArray[np.float32]]) -> Weights:
    """`{kind}_attention_{layer}` (B,N,S,T) of every layer -> by kind, (B,L,N,S,T)."""
    layers: dict[str, dict[int, NDArray[np.float32]]] = {}
    for name, value in found.items():
        kind, _, layer = name.partition("_attention_")
        layers.setdefault(kind, {})[int(layer)] = value
    return {kind: np.stack([values[layer] for layer in sorted(values)], axis=1) for kind, values in layers.items()}


def attend_text(
    model: AttendingEncoderDecoder | AttendingEncoderStep, tokenizer: Tokenizer, source: Sequence[int], start: int, answer: Sequence[int], text: str
) -> AttentionMap:
    """source: ids of a text. answer: those of what was made of it, after the one that the decoder starts from."""
    ids = np.array([source], np.int64)
    said = [start, *answer]
    weights = model.weights({"input_ids": ids, "attention_mask": np.ones_like(ids)}, np.array([said[:-1]], np.int64))
    pieces = tokenizer.pieces(said, target=True)
    return AttentionMap(
        tuple(tokenizer.pieces(source)), tuple(pieces[1:]), tuple(pieces[:-1]), {kind: value[0] for kind, value in weights.items()}, text
    )


def attend_sound(
    model: AttendingEncoderDecoder, tokenizer: Tokenizer, features: NDArray[np.float32], said: Sequence[int], text: str, seconds: float
) -> AttentionMap:
    """features: of one sound, padding included, of so many seconds. said: what its decoder starts from and what it gives. The source are the seconds at which frames begin."""
    weights = {kind: value[0] for kind, value in model.weights(model.sound([features]), np.array([said[:-1]], np.int64)).items()}
    pieces = tokenizer.pieces(said, target=True)
    frames = weights["cross"].shape[-1]
    return AttentionMap(times(frames, seconds / frames), tuple(pieces[1:]), tuple(pieces[:-1]), weights, text)


def times(frames: int, step: float) -> tuple[str, ...]:
    """The second at which each of so many frames of `step` seconds begins."""
    return tuple(f"{frame * step:.2f}" for frame in range(frames))
