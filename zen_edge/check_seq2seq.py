"""Hold a bundle of an encoder and a step against the PyTorch modules, decoded by a plain search of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zen_edge import compared_on
from zen_edge.attention_map import attention_file
from zen_edge.check_again import export_again
from zen_edge.check_attention import compare_weights
from zen_edge.check_generated import CASES, PADDED_ROWS, Tell, generated, scored_texts
from zen_edge.check_steps import along, encoded
from zen_edge.check_tensors import PADDING, first_of, log_sum_exp, open_graph
from zen_edge.checked import quoted
from zen_edge.errors import CheckFailedError, InputError
from zen_edge.inputs import Line
from zen_edge.manifest import Manifest
from zen_edge.parity import OutputDifference, ParityReport, compare_outputs, difference, tolerance_of

if TYPE_CHECKING:
    from zen_edge.exporters.own_seq2seq import OwnSeq2Seq
    from zen_edge.exporters.reference_seq2seq import Seq2SeqReference

Array = np.ndarray[Any, Any]


def compare(
    folder: Path,
    manifest: Manifest,
    own: OwnSeq2Seq,
    lines: Sequence[Line],
    *,
    cases: Sequence[tuple[str, int, int]] = CASES,
    max_new_tokens: int | None = None,
    bisect: bool = False,
    tell: Tell = lambda step: None,
) -> tuple[ParityReport, dict[str, int]]:
    """Outputs along forced words, generated tokens greedy and beam, alone and padded, text metrics of the lines that have a target; and what was counted.

    CheckFailedError for other weights, and where the bundle's words are not the declared ones.
    """
    from zen_edge.exporters.reference_seq2seq import Seq2SeqReference
    from zen_edge.runtimes import load

    manifest.require_weights(own.weights_hash(), own.name)
    reference = Seq2SeqReference(own)
    sources = [line.source for line in lines]
    rows = _rows(folder, manifest, reference, sources)
    with load(folder, device=compared_on.device()) as pipeline:
        compared, tokens = generated(pipeline, reference, rows, sources, cases=cases, max_new_tokens=max_new_tokens, tell=tell)
        text, scored = scored_texts(pipeline, reference, lines, tokens[cases[-1][0]], manifest.task, tell)
    tell("compare outputs")
    some, forced = rows[:PADDED_ROWS], tokens[cases[0][0]][0][:PADDED_ROWS]
    outputs = tuple(_outputs(folder, manifest, reference, some, forced))
    first = _first_difference(folder, manifest, own, reference, some, forced, tell) if bisect else None
    return ParityReport(manifest.precision, outputs, compared, text, first), {"lines": len(lines), "lines_with_target": scored}


def own_lines(own: OwnSeq2Seq) -> list[Line]:
    return [Line(text) for text in own.examples()]


def _rows(folder: Path, manifest: Manifest, reference: Seq2SeqReference, sources: Sequence[str]) -> list[list[int]]:
    """The ids of every line, which the bundle's own words have to give too."""
    from zen_edge.runtimes.tokenization import load_tokenizer

    tokenizer = load_tokenizer(folder, manifest.tokenizer)
    rows = []
    for source in sources:
        try:
            rows.append(reference.encode(source))
        except InputError as error:
            raise InputError(f"the line {quoted(source)}: {error}") from None
        found = tokenizer.encode(source)
        if found != rows[-1]:
            raise CheckFailedError(f"the words of {quoted(source)} are {rows[-1][:8]} as declared and {found[:8]} in the bundle: export it again.")
        if tokenizer.decode(rows[-1]) != reference.decode(rows[-1]) and max(rows[-1]) < manifest.limits["vocab_size"]:
            raise CheckFailedError(f"the ids {rows[-1][:8]} are other texts as declared and in the bundle: export it again.")
    return rows


def _outputs(
    folder: Path, manifest: Manifest, reference: Seq2SeqReference, sources: Sequence[Sequence[int]], tokens: Sequence[Sequence[int]]
) -> Iterator[OutputDifference]:
    ids, mask, forced, seen = _padded(reference, sources, tokens)
    expected, found = reference.handed(ids, mask), encoded(folder, manifest, ids, mask)
    for name, value in expected.items():
        stored = next((label for label in (f"cross_{name}", f"past_{name}") if label in found), None)
        if stored is not None:  # memory of which only what is computed from it is handed on
            yield compare_outputs(f"encoder.{name}", value, found[stored], manifest.precision)
    scores, _ = reference.along(ids, mask, forced)
    step = along(folder, manifest, found, mask, forced)
    yield compare_outputs("decoder.logits", scores[seen], step["logits"][seen], manifest.precision)
    best = -np.sort(-step["logits"][seen], axis=-1)[:, : step["top_scores"].shape[-1]]
    # Not the sums themselves: a step that returns log-probabilities has sums of zero and rounding.
    likely = -np.sort(-(scores[seen] - log_sum_exp(scores[seen])[:, None]), axis=-1)[:, : best.shape[-1]]
    yield compare_outputs("decoder.log_probabilities", likely, best - step["log_sum_exp"][seen][:, None], manifest.precision)
    yield difference("decoder.top_scores", best, step["top_scores"][seen], tolerance_of("fp32"))
    chosen = np.take_along_axis(step["logits"][seen], np.clip(step["top_ids"][seen], 0, scores.shape[-1] - 1), axis=-1)
    yield difference("decoder.top_ids", best, chosen, tolerance_of("fp32"))
    yield from _attention(folder, manifest, reference, ids, mask, forced, seen)
    for graph in manifest.graphs:
        if graph.name in ("reorder", "share"):
            yield from _moved(folder, manifest, graph.name, found)


def _attention(
    folder: Path, manifest: Manifest, reference: Seq2SeqReference, ids: Array, mask: Array, forced: Array, seen: Array
) -> Iterator[OutputDifference]:
    from zen_edge.runtimes.attention import Attending

    if not any(attention_file(graph.name) in manifest.files for graph in manifest.graphs):
        return
    found = Attending(folder, manifest, compared_on.device(), None).encoder_step().weights({"input_ids": ids, "attention_mask": mask}, forced)
    yield from compare_weights(found, reference.softmaxes(ids, mask, forced), manifest.precision, inside=seen)


def _moved(folder: Path, manifest: Manifest, name: str, handed: Mapping[str, Array]) -> Iterator[OutputDifference]:
    graph, described = open_graph(folder, manifest, name), manifest.graph(name)
    given = {tensor.name: (handed[tensor.name], tensor.shape.index("R")) for tensor in described.inputs if tensor.name in handed}
    count = next(value.shape[axis] for value, axis in given.values())
    rows = np.arange(count + 1)[::-1] % count  # every row moved, one of them twice
    found = graph.run({"beam_index": np.ascontiguousarray(rows), **{key: value for key, (value, _) in given.items()}}, list(graph.outputs))
    for (key, (value, axis)), output in zip(given.items(), graph.outputs, strict=True):
        given_back = found[output].numpy()
        yield difference(
            f"{name}.{key}", np.take(value, rows, axis).astype(given_back.dtype), given_back, tolerance_of("fp32")
        )  # in half precision all is half


def _padded(reference: Seq2SeqReference, sources: Sequence[Sequence[int]], tokens: Sequence[Sequence[int]]) -> tuple[Array, Array, Array, Array]:
    """ids and mask (B,T), all of them padded; what the step reads (B,S), and where that is no padding."""
    from zen_edge.runtimes.batching import pad

    width = max(map(len, sources)) + PADDING
    ids, mask = pad([*sources, [reference.pad_token_id] * width], reference.pad_token_id)
    forced, seen = pad([[reference.start_token_id, *row[:-1]] for row in tokens], reference.pad_token_id)
    return np.ascontiguousarray(ids[:-1]), np.ascontiguousarray(mask[:-1]), forced, seen == 1


def _first_difference(
    folder: Path,
    manifest: Manifest,
    own: OwnSeq2Seq,
    reference: Seq2SeqReference,
    sources: Sequence[Sequence[int]],
    tokens: Sequence[Sequence[int]],
    tell: Tell,
) -> OutputDifference | None:
    """The first tensor out of tolerance against a fresh fp32 export: of the encoder, then of the first step."""
    import tempfile

    from zen_edge.manifest import read_manifest

    tell("export in fp32 and bisect")
    ids, mask, forced, _ = _padded(reference, sources, tokens)
    with tempfile.TemporaryDirectory() as name:
        fresh = Path(name) / "fresh"
        export_again(own, manifest, fresh, tell=tell)
        first, _ = first_of("encoder", {"input_ids": ids, "attention_mask": mask}, fresh, folder, manifest)
        if first is None:
            handed = encoded(fresh, read_manifest(fresh), ids, mask)
            begin = {
                "input_ids": np.ascontiguousarray(forced[:, 0]),
                "attention_mask": mask,
                "top_k": np.array([1]),
                "want_log_sum_exp": np.array(False),
            }
            first, _ = first_of("decoder", handed | begin, fresh, folder, manifest)
        return first
