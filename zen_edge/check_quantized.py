"""Hold a quantized bundle against the fp32 bundle it was made from: what their graphs return for the same inputs. Needs no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zen_edge.check_steps import StepProbe
from zen_edge.check_tensors import open_graph
from zen_edge.errors import ZenEdgeError
from zen_edge.inputs import built_in
from zen_edge.manifest import STATES_MASK, Graph, Manifest, read_manifest
from zen_edge.parity import ParityReport, compare_outputs, difference, tolerance_of
from zen_edge.sounds import voice
from zen_edge.tasks import SEQUENCE_TO_SEQUENCE

Array = npt.NDArray[Any]
TOKENS = 24  # words to follow
SECONDS = (2.0, 2.0)  # of made-up sounds, of one length because some models take no other
LENGTH = 24  # where a graph tells no size
LONGEST = 384  # tokens of a question and its context
KEYS_FROM_FRAMES = "speech encoder"


@dataclass(frozen=True)
class Probe:
    """What the graphs of a bundle are given. sources: the feeds of the encoder, or of the only graph. forced: (B,S) words of the decoder, and where
    they are no padding; None without a decoder."""

    sources: Mapping[str, Array]
    forced: tuple[Array, Array] | None = None

    def outputs(self, folder: Path, cross: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """{"graph.output": values that are no padding}. cross: the keys and values that the decoder reads in place of the bundle's own."""
        manifest = read_manifest(folder)
        if self.forced is None:
            (graph,) = manifest.graphs
            return self._masked(graph.name, self._run(folder, manifest, graph))
        own = self._run(folder, manifest, manifest.graph("encoder"))
        logits = self._follow(folder, manifest, own if cross is None else cross)
        return {**self._masked("encoder", own), "decoder.logits": logits}

    def decoded(self, folder: Path, cross: Mapping[str, Array]) -> dict[str, Array]:
        """{"decoder.logits"} with what an encoder returned."""
        return {"decoder.logits": self._follow(folder, read_manifest(folder), cross)}

    def cross(self, folder: Path) -> dict[str, Array]:
        """Keys and values of the decoder's layers, padding and all."""
        manifest = read_manifest(folder)
        return self._run(folder, manifest, manifest.graph("encoder"))

    def _run(self, folder: Path, manifest: Manifest, graph: Graph) -> dict[str, Array]:
        names = [output.name for output in graph.outputs]
        return {name: value.numpy() for name, value in open_graph(folder, manifest, graph.name).run(self.sources, names).items()}

    def decoder_feeds(self, cross: Mapping[str, Array]) -> dict[str, Array]:
        """What the decoder is given to follow its words in one step, with what an encoder returned: keys and values, and which states are no padding
        where those are fewer than what it read."""
        assert self.forced is not None
        keys = {name: value for name, value in cross.items() if name.startswith("cross_")}
        past = {name.replace("cross_", "past_"): value[:, :, :0] for name, value in keys.items()}
        mask = cross.get(STATES_MASK, self.sources.get("attention_mask"))
        feeds = {"input_ids": self.forced[0], "top_k": np.array([1]), "want_log_sum_exp": np.array(False), **keys, **past}
        return feeds if mask is None else {**feeds, "attention_mask": mask}

    def _follow(self, folder: Path, manifest: Manifest, cross: Mapping[str, Array]) -> Array:
        assert self.forced is not None
        logits: Array = open_graph(folder, manifest, "decoder").run(self.decoder_feeds(cross), ["logits"])["logits"].numpy()
        return logits[self.forced[1]]

    def _masked(self, graph: str, found: Mapping[str, Array]) -> dict[str, Array]:
        """Keys and values (B,N,T,H), and outputs by word (B,T,...), without those of padding."""
        mask = self.sources.get("attention_mask")
        named = {}
        for name, value in found.items():
            if mask is not None and value.ndim == 4 and value.shape[::2] == mask.shape:
                value = value.transpose(0, 2, 1, 3)
            named[f"{graph}.{name}"] = value[mask == 1] if mask is not None and value.shape[:2] == mask.shape and value.ndim > 2 else value
        return named


def probe(bundle: Path, sources: Sequence[Any] | None = None) -> Probe | StepProbe:
    """On lines, questions with their contexts, or recordings (samples,), or what is built in; the words that the decoder follows are those that `bundle` says itself."""
    from zen_edge.runtimes.batching import pad

    manifest = read_manifest(bundle)
    inputs = {tensor.name: tensor for graph in manifest.graphs[:1] for tensor in graph.inputs}
    decodes = any(graph.name == "decoder" for graph in manifest.graphs)
    if (bundle / "preprocessor_config.json").is_file():
        feeds, heard = _heard(bundle, manifest, set(inputs), sources)
    elif manifest.tokenizer and "input_ids" in inputs:
        heard = [line.source for line in built_in(manifest.tokenizer)[:4]] if sources is None else list(sources)
        feeds = _read(bundle, manifest, set(inputs), heard)
    else:
        return Probe({tensor.name: _made_up(tensor.dtype, tensor.shape, i) for i, tensor in enumerate(inputs.values())})
    if not decodes:
        return Probe(feeds)
    rows = [row[:TOKENS] for row in _said(bundle, manifest, heard)]
    start, padding = (int(manifest.generation.get(f"{name}_token_id") or 0) for name in ("decoder_start", "pad"))
    ids, seen = pad([[start, *row[:-1]] for row in rows], padding)
    if manifest.task == SEQUENCE_TO_SEQUENCE:
        mask = feeds["attention_mask"]
        return StepProbe(feeds["input_ids"], mask, (ids, seen == 1))
    return Probe(feeds, (ids, seen == 1))


def _read(bundle: Path, manifest: Manifest, names: set[str], lines: Sequence[Any]) -> dict[str, Array]:
    from zen_edge.runtimes.batching import pad
    from zen_edge.runtimes.tokenization import load_tokenizer

    longest = manifest.limits.get("max_source_length")
    tokenizer = load_tokenizer(bundle, manifest.tokenizer)
    read = [_encoded(tokenizer, line, longest) for line in lines]
    ids, mask = pad([ids for ids, _ in read], tokenizer.pad_token_id)
    feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": pad([kinds for _, kinds in read], 0)[0]}
    feeds["mask_positions"] = np.zeros((len(ids), 1), np.int64)
    return {name: value for name, value in feeds.items() if name in names}


def _encoded(tokenizer: Any, line: Any, longest: int | None) -> tuple[list[int], list[int]]:
    """ids and token types of a text, or of a question and the beginning of its context."""
    if isinstance(line, str):
        ids = tokenizer.encode(line)[:longest]
        return ids, [0] * len(ids)
    window = tokenizer.windows(*line, most=min(longest or LONGEST, LONGEST))[0]
    return window.ids, window.type_ids


def _heard(bundle: Path, manifest: Manifest, names: set[str], sounds: Sequence[Array] | None) -> tuple[dict[str, Array], list[Any]]:
    from zen_edge.runtimes.audio import load_extractor
    from zen_edge.runtimes.pipelines.recognizer import read_config

    extractor = load_extractor(read_config(bundle))
    rate = extractor.sampling_rate
    made_up = [voice(max(manifest.limits.get("min_samples", 0) + 1, round(seconds * rate)), rate, i) for i, seconds in enumerate(SECONDS)]
    heard = made_up if sounds is None else list(sounds)
    features = _side_by_side(extractor, heard, manifest, masked="attention_mask" in names)
    longest = max(len(row) for row in features)
    batch = np.stack([np.pad(row, [(0, longest - len(row)), *[(0, 0)] * (row.ndim - 1)]) for row in features])
    mask = np.stack([np.arange(longest) < len(row) for row in features]).astype(np.int64)
    feeds = {name: mask if name == "attention_mask" else batch for name in names}
    return feeds, heard


def _side_by_side(extractor: Any, sounds: Sequence[Array], manifest: Manifest, masked: bool) -> list[Array]:
    """Features of each: for a model that takes no mask of one length, with silence behind a sound; where it hears windows, of the first."""
    from zen_edge.runtimes.audio.log_mel import LogMel

    if masked:
        return [extractor.features(sound) for sound in sounds]
    rate = extractor.sampling_rate
    longest = max(len(sound) for sound in sounds)
    if isinstance(extractor, LogMel):
        window = manifest.limits.get("max_source_length", longest) * extractor.hop
        return [extractor.features(sound, min(-(-longest // rate) * rate, window)) for sound in sounds]
    return [extractor.features(np.pad(sound, (0, longest - len(sound)))) for sound in sounds]


def _said(bundle: Path, manifest: Manifest, heard: Sequence[Any]) -> list[tuple[int, ...]]:
    """The words of each input, greedy; at least one."""
    from zen_edge.runtimes import load
    from zen_edge.runtimes.pipelines.recognizer import Recognizer, read_config

    with load(bundle, device="cpu") as opened:
        pipeline: Any = opened
        rate: dict[str, Any] = {"sampling_rate": read_config(bundle)["sampling_rate"]} if isinstance(opened, Recognizer) else {}
        longest = manifest.limits.get("max_target_length", TOKENS)
        found = pipeline.generate_each(heard, num_beams=1, max_new_tokens=min(TOKENS, longest), **rate)
    return [(0,) if isinstance(answers, ZenEdgeError) or not answers[0].tokens else answers[0].tokens for answers in found]


def _made_up(dtype: str, shape: Sequence[int | str], seed: int) -> Array:
    """Numbers for an input that nothing more is known of: two rows, noise, and ones for whole numbers."""
    sizes = [size if isinstance(size, int) else 2 if axis == 0 else LENGTH for axis, size in enumerate(shape)]
    if dtype.startswith("float"):
        return np.random.default_rng(seed).standard_normal(sizes).astype(dtype)
    return np.ones(sizes, dtype)


def compare(before: Path, after: Path) -> ParityReport:
    """What each graph of `after` returns against `before`, the fp32 bundle it was made from, within the tolerance of its precision."""
    manifest = read_manifest(after)
    tried = probe(before)
    cross = None if tried.forced is None else tried.cross(before)
    expected, given = (tried.outputs(folder, cross) for folder in (before, after))
    heard = "input_features" in tried.sources and tried.forced is not None
    encoder = tolerance_of(manifest.precision, KEYS_FROM_FRAMES if heard else "")
    outputs = [
        difference(name, value, given[name], encoder)
        if name.startswith("encoder.")
        else compare_outputs(name, value, given[name], manifest.precision)
        for name, value in expected.items()
    ]
    return ParityReport(manifest.precision, tuple(outputs))
