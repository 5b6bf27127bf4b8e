"""Hold a bundle that hears with an encoder and a decoder against the PyTorch model it was made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zen_edge import compared_on
from zen_edge.attention_map import attention_file
from zen_edge.check_attention import compare_sounds
from zen_edge.check_tensors import compare_decoder, open_graph
from zen_edge.errors import OptionError, ZenEdgeError
from zen_edge.inputs import Line
from zen_edge.manifest import Manifest
from zen_edge.parity import OutputDifference, ParityReport, compare_outputs, compare_texts, compare_tokens, difference, tolerance_of
from zen_edge.sounds import Sound, voice

if TYPE_CHECKING:
    from zen_edge.exporters.checkpoint import Checkpoint
    from zen_edge.exporters.reference_speech import SpeechReference

Array = np.ndarray[Any, Any]
Tell = Callable[[str], None]
BUILT_IN = (2.0, 0.7, 6.3)  # seconds of sounds like a voice
BUILT_IN_TOKENS = 24  # what is made up can be heard as anything, for ever
VERIFY_TOKENS = 12
CASES: tuple[tuple[str, dict[str, Any]], ...] = (("greedy", {}), ("beam", {"num_beams": 4}), ("times", {"return_timestamps": True}))
SHORTER = 3  # a window of a third of the frames


def hears(manifest: Manifest) -> bool:
    """Windows of sound, with an encoder."""
    encoder = [tensor.name for graph in manifest.graphs if graph.name == "encoder" for tensor in graph.inputs]
    return encoder == ["input_features"]


def compare(
    folder: Path, manifest: Manifest, checkpoint: Checkpoint, lines: Sequence[Line] | None, *, short: bool = False, tell: Tell
) -> tuple[ParityReport, dict[str, int]]:
    """Features, the encoder's outputs for whole windows and a shorter one, the decoder's along generated tokens; tokens, greedy, with beams and with
    times; of recordings longer than a window the tokens of all their windows; texts. lines: paths of recordings and what is said in them; None: sounds that are made up. short: the tokenizer, and less of the rest.

    Returns the report and what it counts. Raises CheckFailedError for other weights, and for a tokenizer that does not do what transformers' does.
    """
    from zen_edge.exporters.reference_speech import SpeechReference
    from zen_edge.runtimes import load
    from zen_edge.runtimes.audio.log_mel import LogMel
    from zen_edge.runtimes.speech.prompts import Vocabulary, prompt

    reference = SpeechReference(checkpoint)
    require_same(folder, manifest, checkpoint, reference.weights_hash, tokenizer=short)
    vocabulary = Vocabulary.of(manifest.generation, manifest.limits["vocab_size"])
    start = prompt(vocabulary, manifest.generation, language=None, task=None, timestamps=False)
    options: dict[str, Any] = {} if lines is not None else {"max_new_tokens": VERIFY_TOKENS if short else BUILT_IN_TOKENS}
    extractor = LogMel.from_config(checkpoint.feature_extractor.to_dict())
    padded = manifest.limits["max_source_length"] * extractor.hop
    whole = recordings(lines, reference.sampling_rate)[: 2 if short else None]
    sounds = [replace(sound, audio=sound.audio[:padded]) for sound in whole]
    windows = [reference.features(sound.audio) for sound in sounds]
    outputs = [compare_outputs("features", np.stack(windows), np.stack([extractor.features(sound.audio, padded) for sound in sounds]), "fp32")]

    prompts = [reference.prompt(window, len(start.tokens)) for window in windows]
    cases, tokens = {}, {}
    with load(folder, device=compared_on.device()) as opened:
        pipeline: Any = opened
        for name, chosen in CASES[: 2 if short else None if vocabulary.no_timestamps is not None else 2]:
            tell(f"generate, {name}")
            given = [heard(pipeline, [sound], reference.sampling_rate, {"window": "full", **options, **chosen}, tell)[0] for sound in sounds]
            given = [row[: len(row) - (row[-1:] == (vocabulary.end,))] for row in given]
            expected = [reference.generate(window, **{**options, **chosen}) for window in windows]
            margin = _never if "return_timestamps" in chosen else margins(reference, windows, prompts, expected, given, whole="num_beams" in chosen)
            cases[name] = compare_tokens(expected, given, margin, reference.decode)
            tokens[name] = expected, given
        told = list(zip(*tokens["greedy"], strict=True))  # of each recording, by the reference and by the bundle
        longer = [i for i, sound in enumerate(whole) if len(sound.audio) > padded]
        long = longer if vocabulary.no_timestamps is not None else []  # nothing is heard after the first window without times
        if long:
            tell("generate, window after window")
            given = [heard(pipeline, [whole[i]], reference.sampling_rate, {"window": "full", **options}, tell)[0] for i in long]
            given = [row[: len(row) - (row[-1:] == (vocabulary.end,))] for row in given]
            expected = [reference.generate_long(whole[i].audio, **options) for i in long]
            cases["long"] = compare_tokens(expected, given, _never, reference.decode)
            for i, pair in zip(long, zip(expected, given, strict=True), strict=True):
                told[i] = pair
    tell("compare outputs")
    outputs += _compare_graphs(
        folder,
        manifest,
        reference,
        np.stack(windows[:2]),
        [(*prompts[i], *tokens["greedy"][0][i], 0)[: manifest.limits["max_target_length"]] for i in range(len(windows[:2]))],
    )
    scored = [i for i, sound in enumerate(sounds) if sound.target]
    of_reference, of_bundle = ([reference.decode(told[i][side]).strip() for i in scored] for side in (0, 1))
    text = compare_texts([str(sounds[i].target) for i in scored], of_reference, of_bundle, manifest.task)
    counts = {"lines": len(sounds), "lines_with_target": len(scored), "lines_longer_than_a_window": len(longer)}
    return ParityReport(manifest.precision, tuple(outputs), cases, text), counts


def require_same(folder: Path, manifest: Manifest, checkpoint: Checkpoint, weights_hash: str, *, tokenizer: bool) -> None:
    """Raises CheckFailedError for a bundle of other weights and, if asked, for a tokenizer that does not do what transformers' does."""
    from zen_edge.exporters.tokenization import prove_tokenizer
    from zen_edge.runtimes.tokenization import load_tokenizer

    manifest.require_weights(weights_hash, checkpoint.name)
    if tokenizer:
        ours = load_tokenizer(folder, manifest.tokenizer)
        prove_tokenizer(checkpoint.tokenizer, ours.encode, ours.decode, ours.forced_bos_token_id)


def _compare_graphs(folder: Path, manifest: Manifest, reference: SpeechReference, windows: Array, rows: Sequence[tuple[int, ...]]) -> list[Any]:
    """windows (B,C,F); rows: the decoder's tokens for each."""
    from zen_edge.runtimes.batching import pad

    encoder, bounds = open_graph(folder, manifest, "encoder"), tolerance_of(manifest.precision, "speech encoder")
    found = []
    for name, features in (("encoder", windows), ("encoder shorter", np.ascontiguousarray(windows[:, :, : windows.shape[2] // SHORTER]))):
        cross = reference.cross(features, shorter=features is not windows)
        given = encoder.run({"input_features": features}, list(cross))
        found += [difference(f"{name}.{output}", cross.pop(output), given.pop(output).numpy(), bounds) for output in list(cross)]
    del encoder, given  # of a large model no two graphs are held at a time
    forced, seen = pad([row[:-1] for row in rows], reference.pad_token_id)
    scores = reference.logits(windows, forced)
    if attention_file("decoder") in manifest.files:
        found += _attention(folder, manifest, reference, np.ascontiguousarray(windows[:, :, : windows.shape[2] // SHORTER]), forced, seen)
    return [*found, *compare_decoder(folder, manifest, reference.cross(windows), None, forced, seen == 1, scores)]


def _attention(
    folder: Path, manifest: Manifest, reference: SpeechReference, features: Array, forced: Array, seen: Array
) -> Iterator[OutputDifference]:
    """In a shorter window: whole ones have nine times as many weights."""
    from zen_edge.runtimes.attention import Attending

    attending: Any = Attending(folder, manifest, compared_on.device(), None).encoder_decoder()
    whole = reference.attention(features, forced, shorter=True)
    expected = [{kind: value[row] for kind, value in whole.items()} for row in range(len(forced))]
    yield from compare_sounds(attending.weights(attending.sound(list(features)), forced), expected, manifest.precision, seen.sum(1).tolist())


def heard(pipeline: Any, sounds: Sequence[Sound], rate: int, options: dict[str, Any], tell: Tell) -> list[tuple[int, ...]]:
    """The tokens of each. None where the bundle is so damaged that it cannot generate: the tensors tell more than its error."""
    try:
        return [best.tokens for best, *_ in pipeline.generate([sound.audio for sound in sounds], sampling_rate=rate, **options)]
    except OptionError:
        raise
    except ZenEdgeError as error:
        tell(f"the bundle gives no answer ({error})")
        return [()] * len(sounds)


def margins(
    reference: SpeechReference,
    windows: Sequence[Array],
    prompts: Sequence[tuple[int, ...]],
    expected: Sequence[tuple[int, ...]],
    given: Sequence[tuple[int, ...]],
    *,
    whole: bool,
) -> Callable[[int, int, int, int], float]:
    """As for text: how much likelier the reference finds its token, or of a beam search its whole sequence, if that is nearer."""

    def margin(i: int, step: int, token: int, other: int) -> float:
        table = reference.log_probabilities(windows[i], prompts[i], expected[i])
        apart = float(table[step, token] - table[step, other])
        if not whole or len(expected[i]) != len(given[i]):
            return apart
        rows = (expected[i], given[i])
        totals = [float(reference.log_probabilities(windows[i], prompts[i], row)[np.arange(len(row)), list(row)].sum()) for row in rows]
        return min(apart, totals[0] - totals[1], key=abs)

    return margin


def _never(i: int, step: int, token: int, other: int) -> float:
    """Times are chosen by a sum over many tokens, and windows follow each other: no single margin explains a difference."""
    return np.inf


def recordings(lines: Sequence[Line] | None, rate: int) -> list[Sound]:
    """Those that are named, or sounds that are made up."""
    from zen_edge.runtimes.audio.reading import read_audio

    if lines is not None:
        return [Sound(line.source, read_audio(line.source, None, rate), line.target) for line in lines]
    return [Sound(f"sound {i}", voice(round(seconds * rate), rate, i)) for i, seconds in enumerate(BUILT_IN)]
