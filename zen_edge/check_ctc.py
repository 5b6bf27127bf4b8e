"""Hold a bundle with one output for every frame of sound against the PyTorch model it was made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zen_edge import compared_on
from zen_edge.attention_map import attention_file
from zen_edge.check_again import export_again
from zen_edge.check_attention import compare_sounds
from zen_edge.errors import CheckFailedError, InputError
from zen_edge.inputs import Line
from zen_edge.manifest import Manifest
from zen_edge.parity import OutputDifference, ParityReport, compare_outputs, compare_texts, compare_tokens
from zen_edge.sounds import Sound, voice

if TYPE_CHECKING:
    from zen_edge.exporters.checkpoint import Checkpoint
    from zen_edge.exporters.reference_ctc import CtcReference
    from zen_edge.runtimes.ctc.model import FrameModel
    from zen_edge.runtimes.ctc.spans import FrameTokenizer

Array = np.ndarray[Any, Any]
Tell = Callable[[str], None]
BUILT_IN = (1.0, 0.31, 2.53, 1.0)  # seconds of sounds like a voice
SEQUENCES = 64  # of frames, for the tokenizer


def is_ctc(manifest: Manifest) -> bool:
    return any(graph.name == "ctc" for graph in manifest.graphs)


def compare(
    folder: Path, manifest: Manifest, checkpoint: Checkpoint, lines: Sequence[Line] | None, *, prove: bool = False, bisect: bool = False, tell: Tell
) -> tuple[ParityReport, dict[str, int]]:
    """Features, scores of every frame alone and in a batch, the choice of every frame, texts and the times of words. lines: paths of recordings and
    what is said in them; None: sounds that are made up. prove: try the tokenizer on made-up frames too. Returns the report and what it counts.

    Raises CheckFailedError for other weights, and for a tokenizer that does not do what transformers' does.
    """
    from zen_edge.exporters.reference_ctc import CtcReference
    from zen_edge.runtimes.audio import load_extractor
    from zen_edge.runtimes.ctc.greedy import Path as FramePath
    from zen_edge.runtimes.ctc.model import FrameModel
    from zen_edge.runtimes.pipelines.recognizer import read_config
    from zen_edge.runtimes.tokenization import load_tokenizer

    model = FrameModel(folder, manifest, compared_on.device(), None)
    reference = CtcReference(checkpoint, model.masked)
    manifest.require_weights(reference.weights_hash, checkpoint.name)
    sounds = _sounds(lines, manifest, reference.sampling_rate)
    tokenizer: Any = load_tokenizer(folder, manifest.tokenizer)
    if prove:
        _prove(reference, tokenizer)
    extractor = load_extractor(read_config(folder))
    tell("compute features")
    features = [extractor.features(sound.audio) for sound in sounds]
    expected_features = [reference.features(sound.audio) for sound in sounds]
    tell("compare scores")
    expected = [reference.logits(sound.audio) for sound in sounds]
    alone = [model.logits([row])[0] for row in features]
    pairs = {"features": (expected_features, features), "ctc.frame_logits": (expected, alone)}
    if model.masked:
        pairs["ctc.frame_logits padded"] = expected, model.logits(features)
    # transformers computes its features in float32 or float64 by other sums: as near as those are among each other.
    outputs = tuple(_difference(name, *pair, manifest.precision if name != "features" else "fp32") for name, pair in pairs.items())
    if attention_file("ctc") in manifest.files:
        outputs += tuple(_attention(folder, manifest, model, reference, sounds[:2], features[:2]))
    frames, given = ([FramePath.of(logits).ids.tolist() for logits in side] for side in (expected, alone))
    cases = {"frames": compare_tokens(frames, given, lambda i, step, one, other: _margin(expected[i], step, one, other), reference.decode)}
    texts = [reference.decode(ids) for ids in frames], [tokenizer.told(ids)[0] for ids in given]
    for ids, told in zip(frames, texts[0], strict=True):
        _require_same(reference, tokenizer, ids, told)
    scored = [i for i, sound in enumerate(sounds) if sound.target]
    of_model, of_bundle = ([side[i] for i in scored] for side in texts)
    text = compare_texts([str(sounds[i].target) for i in scored], of_model, of_bundle, manifest.task)
    first = _first_difference(folder, manifest, checkpoint, features[0], tell) if bisect else None
    return ParityReport(manifest.precision, outputs, cases, text, first), {"lines": len(sounds), "lines_with_target": len(scored)}


def _attention(
    folder: Path, manifest: Manifest, model: FrameModel, reference: CtcReference, sounds: Sequence[Sound], features: Sequence[Array]
) -> Iterator[OutputDifference]:
    """Side by side where padding can be masked, otherwise each alone."""
    from zen_edge.runtimes.attention import Attending

    attending = Attending(folder, manifest, compared_on.device(), None).one_graph()
    for some in [slice(None)] if model.masked else [slice(i, i + 1) for i in range(len(sounds))]:
        expected = [{"encoder": reference.attention(sound.audio)} for sound in sounds[some]]
        yield from compare_sounds(attending.weights(model.feeds(features[some])), expected, manifest.precision)


def _sounds(lines: Sequence[Line] | None, manifest: Manifest, rate: int) -> list[Sound]:
    from zen_edge.runtimes.audio import read_audio

    if lines is None:
        shortest = manifest.limits["min_samples"]
        return [Sound(f"sound {i}", voice(max(shortest + 1, round(seconds * rate)), rate, i)) for i, seconds in enumerate(BUILT_IN)]
    found = [Sound(line.source, read_audio(line.source, None, rate), line.target) for line in lines]
    for sound in found:
        if len(sound.audio) < manifest.limits["min_samples"]:
            raise InputError(f"{sound.name} is too short for the model: leave it out.")
    return found


def _difference(name: str, expected: Sequence[Array], given: Sequence[Array], precision: str) -> OutputDifference:
    """Of all rows, (S,...) each, one after another."""
    if [row.shape for row in expected] != [row.shape for row in given]:
        shapes = next((list(b.shape), list(a.shape)) for a, b in zip(expected, given, strict=True) if a.shape != b.shape)
        return OutputDifference(name, np.inf, np.inf, np.nan, False, f"shape {shapes[0]} instead of {shapes[1]}")
    return compare_outputs(name, np.concatenate(expected), np.concatenate(given), precision)


def _margin(logits: Array, step: int, one: int, other: int) -> float:
    """How much more likely the reference finds its choice than the bundle's: the sum over the words is the same for both."""
    return float(logits[step, one] - logits[step, other])


def _prove(reference: CtcReference, tokenizer: FrameTokenizer) -> None:
    """Every word of the vocabulary in runs, with blanks between them and without."""
    random = np.random.default_rng(0)
    words = reference.vocab_size
    for _ in range(SEQUENCES):
        ids = np.repeat(random.integers(0, words, 40), random.integers(1, 4, 40)).tolist()
        _require_same(reference, tokenizer, ids, reference.decode(ids))
    for start in range(0, words, 40):
        some = list(range(start, min(start + 40, words)))
        for ids in (some, [each for id in some for each in (id, tokenizer.blank_id)]):
            _require_same(reference, tokenizer, ids, reference.decode(ids))
    _require_same(reference, tokenizer, [tokenizer.blank_id] * 3, reference.decode([tokenizer.blank_id] * 3))


def _require_same(reference: CtcReference, tokenizer: FrameTokenizer, ids: Sequence[int], text: str) -> None:
    told, spans = tokenizer.told(ids)
    words = reference.words(ids)
    if told != text or (words is not None and words != [(span.text, span.start, span.end) for span in spans]):
        raise CheckFailedError(
            f"tokenizer check: for {str(list(ids))[:200]} the bundle says {told[:200]!a}, transformers says {text[:200]!a}, or other times of words. "
            "Nothing is wrong with the checkpoint: report it with this line."
        )


def _first_difference(folder: Path, manifest: Manifest, checkpoint: Checkpoint, features: Array, tell: Tell) -> OutputDifference | None:
    import tempfile

    from zen_edge.check_tensors import first_of

    tell("export in fp32 and bisect")
    feeds = {checkpoint.model.main_input_name: features[None], "attention_mask": np.ones((1, len(features)), np.int64)}
    with tempfile.TemporaryDirectory() as name:
        fresh = Path(name) / "fresh"
        export_again(checkpoint, manifest, fresh)
        return first_of("ctc", feeds, fresh, folder, manifest)[0]
