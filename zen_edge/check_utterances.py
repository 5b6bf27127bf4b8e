"""Hold a bundle that hears utterances, with an encoder and a decoder, against the PyTorch model it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zen_edge import compared_on
from zen_edge.attention_map import attention_file
from zen_edge.check_attention import compare_sounds
from zen_edge.check_speech import BUILT_IN_TOKENS, VERIFY_TOKENS, Array, Tell, heard, margins, recordings, require_same
from zen_edge.check_tensors import compare_decoder, open_graph
from zen_edge.inputs import Line
from zen_edge.manifest import STATES_MASK, Manifest
from zen_edge.parity import OutputDifference, ParityReport, TokenComparison, compare_outputs, compare_texts, compare_tokens, difference, tolerance_of

if TYPE_CHECKING:
    from zen_edge.exporters.checkpoint import Checkpoint
    from zen_edge.exporters.reference_utterances import UtteranceReference

LONGEST = 30  # seconds of a recording that are compared
CASES: tuple[tuple[str, int, dict[str, Any]], ...] = (("greedy alone", 1, {}), ("greedy padded", 16, {}), ("beam padded", 16, {"num_beams": 4}))


def compare(
    folder: Path, manifest: Manifest, checkpoint: Checkpoint, lines: Sequence[Line] | None, *, short: bool = False, tell: Tell
) -> tuple[ParityReport, dict[str, int]]:
    """Features; the encoder's outputs for a padded batch, and the decoder's along generated tokens; tokens, greedy and with beams, alone and in padded
    batches; texts. PyTorch hears each recording alone. lines: paths of recordings, of which the first 30 seconds are compared, and what is said in
    them; None: sounds that are made up. short: the tokenizer, and less of the rest.

    Returns the report and what it counts. Raises CheckFailedError for other weights, and for a tokenizer that does not do what transformers' does.
    """
    from zen_edge.exporters.reference_utterances import UtteranceReference
    from zen_edge.runtimes import load
    from zen_edge.runtimes.audio import load_extractor
    from zen_edge.runtimes.pipelines.recognizer import read_config

    reference = UtteranceReference(checkpoint)
    require_same(folder, manifest, checkpoint, reference.weights_hash, tokenizer=short)
    options: dict[str, Any] = {} if lines is not None else {"max_new_tokens": VERIFY_TOKENS if short else BUILT_IN_TOKENS}
    rate, extractor = reference.sampling_rate, load_extractor(read_config(folder))
    sounds = [replace(sound, audio=sound.audio[: LONGEST * rate]) for sound in recordings(lines, rate)[: 2 if short else None]]
    features = [reference.features(sound.audio) for sound in sounds]
    given_features = [extractor.features(sound.audio) for sound in sounds]
    outputs = [compare_outputs("features", np.concatenate(features), np.concatenate(given_features), "fp32")]

    cases: dict[str, TokenComparison] = {}
    pairs: list[tuple[list[tuple[int, ...]], list[tuple[int, ...]]]] = []  # of each case, the reference's tokens and the bundle's
    with load(folder, device=compared_on.device()) as pipeline:
        for name, size, chosen in CASES[1 if short else 0 :]:
            tell(f"generate, {name}")
            given = [row for i in range(0, len(sounds), size) for row in heard(pipeline, sounds[i : i + size], rate, {**options, **chosen}, tell)]
            expected = [reference.generate(row, **{**options, **chosen}) for row in features]
            starts = [(reference.start_token_id,)] * len(sounds)
            margin = margins(reference, features, starts, expected, given, whole="num_beams" in chosen)
            cases[name] = compare_tokens(expected, given, margin, reference.decode)
            pairs.append((expected, given))
    tell("compare outputs")
    outputs += _compare_graphs(folder, manifest, reference, features, pairs[0][0])
    scored = [i for i, sound in enumerate(sounds) if sound.target]
    of_reference, of_bundle = ([reference.decode(side[i]).strip() for i in scored] for side in pairs[-1])
    text = compare_texts([str(sounds[i].target) for i in scored], of_reference, of_bundle, manifest.task)
    return ParityReport(manifest.precision, tuple(outputs), cases, text), {"lines": len(sounds), "lines_with_target": len(scored)}


def _compare_graphs(
    folder: Path, manifest: Manifest, reference: UtteranceReference, features: Sequence[Array], tokens: Sequence[tuple[int, ...]]
) -> list[OutputDifference]:
    """tokens: of each, generated."""
    from zen_edge.runtimes.batching import pad, pad_features

    encoder, bounds = open_graph(folder, manifest, "encoder"), tolerance_of(manifest.precision, "speech encoder")
    cross, mask = _padded([reference.states(row) for row in features])
    batch, seen = pad_features(features)
    feeds = dict(zip(encoder.inputs, (batch, seen), strict=True))
    found = encoder.run(feeds, [*cross, STATES_MASK])
    inside = mask[:, None, :, None] == 1
    differences = []
    for name, value in cross.items():
        seen_states = np.broadcast_to(inside, value.shape)
        differences.append(difference(f"encoder.{name}", value[seen_states], found[name].numpy()[seen_states], bounds))
    differences.append(difference(f"encoder.{STATES_MASK}", mask, found[STATES_MASK].numpy(), tolerance_of("fp32")))
    forced, said = pad([(reference.start_token_id, *row[:-1]) for row in tokens], reference.pad_token_id)
    scores = [reference.logits(row[None], forced[i : i + 1])[0] for i, row in enumerate(features)]
    if attention_file("decoder") in manifest.files:
        differences += _attention(folder, manifest, reference, features, forced, said)
    return [*differences, *compare_decoder(folder, manifest, cross, mask, forced, said == 1, np.stack(scores))]


def _attention(
    folder: Path, manifest: Manifest, reference: UtteranceReference, features: Sequence[Array], forced: Array, said: Array
) -> Iterator[OutputDifference]:
    from zen_edge.runtimes.attention import Attending

    attending: Any = Attending(folder, manifest, compared_on.device(), None).encoder_decoder()
    alone = [reference.attention(row[None], forced[i : i + 1]) for i, row in enumerate(features)]
    expected = [{kind: value[0] for kind, value in one.items()} for one in alone]
    yield from compare_sounds(attending.weights(attending.sound(features), forced), expected, manifest.precision, said.sum(1).tolist())


def _padded(rows: Sequence[Mapping[str, Array]]) -> tuple[dict[str, Array], Array]:
    """(N,T,H) by name, of each utterance -> (B,N,T,H) by name, and which of the T are no padding, (B,T)."""
    from zen_edge.runtimes.batching import pad_features

    joined, mask = {}, np.zeros((0, 0), np.int64)
    for name in rows[0]:
        states, mask = pad_features([row[name].swapaxes(0, 1).reshape(row[name].shape[1], -1) for row in rows])  # (B,T,N*H)
        N, _, H = rows[0][name].shape
        joined[name] = np.ascontiguousarray(states.reshape(*states.shape[:2], N, H).swapaxes(1, 2))
    return joined, mask
