"""Hold a bundle that is an encoder and a head against the PyTorch model it was made from."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zen_edge import compared_on
from zen_edge.attention_map import attention_file
from zen_edge.check_again import export_again
from zen_edge.errors import InputError
from zen_edge.inputs import Line
from zen_edge.manifest import Manifest
from zen_edge.parity import OutputDifference, ParityReport, compare_outputs, compare_tokens
from zen_edge.tasks import ENCODER_OUTPUTS

if TYPE_CHECKING:
    from zen_edge.exporters.checkpoint import Checkpoint
    from zen_edge.exporters.reference_encoder import EncoderReference
    from zen_edge.runtimes.encoder import Found

Array = np.ndarray[Any, Any]
Row = dict[str, list[int]]
Tell = Callable[[str], None]
PAIRED = ("question-answering",)  # tasks whose inputs are two texts
MAYBE_PAIRED = ("text-classification",)  # whose inputs are one text or two


def is_encoder(manifest: Manifest) -> bool:
    return manifest.task in ENCODER_OUTPUTS


def compare(
    folder: Path, manifest: Manifest, checkpoint: Checkpoint, lines: Sequence[Line], *, only_fitting: bool, bisect: bool = False, tell: Tell
) -> tuple[ParityReport, dict[str, int]]:
    """The outputs of every line alone and in padded batches, and what is chosen by them: labels, words, places of answers. Texts that come in pairs are
    each line and its pair, or the one after it; so are those that may come in pairs, beside each line alone. Of a model that fills masks, words in the middle
    and at the end of each line are masked. only_fitting: leave out
    lines longer than the model; otherwise they raise InputError. Returns the report and what it counts. Raises CheckFailedError for other weights.
    """
    from zen_edge.exporters.reference_encoder import EncoderReference
    from zen_edge.runtimes.encoder import Encoder

    reference = EncoderReference(checkpoint, manifest.task)
    manifest.require_weights(reference.weights_hash, checkpoint.name)
    rows = _fitting(_rows(lines, reference, manifest), manifest, leave_out=only_fitting)
    tell("compare outputs")
    model = Encoder(folder, manifest, compared_on.device(), None)
    expected = [_alone(reference, row, model.reads) for row in rows]
    alone = [found for row in rows for _, found in model.run([row])]
    padded = [found for _, found in sorted(model.run(rows), key=lambda pair: pair[0])]
    names = ENCODER_OUTPUTS[manifest.task]
    outputs = tuple(
        compare_outputs(f"encoder.{name}{how}", _joined(expected, name), _joined(given, name), manifest.precision)
        for name in names
        for how, given in (("", alone), (" padded", padded))
    )
    if attention_file("encoder") in manifest.files:
        outputs = (*outputs, _attention(folder, manifest, reference, model.feeds(rows)))
    cases = {}
    if manifest.task != "text-embedding":

        def margin(i: int, step: int, one: int, other: int) -> float:
            table = _tables(expected[i], names)[step]
            return float(table[one] - table[other])

        for how, given in (("alone", alone), ("padded", padded)):
            best, chosen = ([[int(table.argmax()) for table in _tables(found, names)] for found in side] for side in (expected, given))
            cases[how] = compare_tokens(best, chosen, margin)
    first = _first_difference(folder, manifest, checkpoint, rows[0], model.reads, tell) if bisect else None
    return ParityReport(manifest.precision, outputs, cases, {}, first), {"lines": len(rows)}


def _attention(folder: Path, manifest: Manifest, reference: EncoderReference, feeds: dict[str, Array]) -> OutputDifference:
    """The weights of attention of a padded batch."""
    from zen_edge.runtimes.attention import Attending

    found = Attending(folder, manifest, compared_on.device(), None).one_graph().weights(feeds)
    return compare_outputs("attention.encoder", reference.attention(feeds), found["encoder"], manifest.precision)


def _rows(lines: Sequence[Line], reference: EncoderReference, manifest: Manifest) -> list[Row]:
    """The graph's inputs for each line, by name. A pair that is given is cut where it is longer than the model."""
    longest = manifest.limits.get("max_source_length")
    others = [line.source for line in (*lines[1:], lines[0])]
    if manifest.task in PAIRED:
        return [
            reference.encode(line.source, other) if line.pair is None else reference.encode(line.source, line.pair, longest)
            for line, other in zip(lines, others, strict=True)
        ]
    rows = [reference.encode(line.source) for line in lines]
    if manifest.task in MAYBE_PAIRED:
        pairs = [reference.encode(line.source, other) for line, other in zip(lines, others, strict=True)]
        rows += [row for row in pairs if longest is None or len(row["input_ids"]) <= longest]
    return [_masked(row, reference) for row in rows] if manifest.task == "fill-mask" else rows


def _masked(row: Row, reference: EncoderReference) -> Row:
    """The word in the middle and the last one as masks."""
    words = [place for place, id in enumerate(row["input_ids"]) if id not in reference.special_token_ids]
    places = sorted({words[len(words) // 2], words[-1]}) if words else [0]
    ids = [reference.mask_token_id if place in places else id for place, id in enumerate(row["input_ids"])]
    return {**row, "input_ids": [int(id or 0) for id in ids], "mask_positions": places}


def _fitting(rows: list[Row], manifest: Manifest, *, leave_out: bool) -> list[Row]:
    longest = manifest.limits.get("max_source_length")
    fitting = [row for row in rows if longest is None or len(row["input_ids"]) <= longest]
    if not fitting or (len(fitting) < len(rows) and not leave_out):
        raise InputError(f"the model takes {longest} tokens, fewer than {'any line has' if not fitting else 'some lines have'}: give shorter ones.")
    return fitting


def _alone(reference: EncoderReference, row: Row, reads: Sequence[str]) -> Found:
    """(T,...) or (L) each."""
    return {name: value[0] for name, value in reference.outputs(_feeds(row, reads)).items()}


def _feeds(row: Row, reads: Sequence[str]) -> dict[str, Array]:
    given = {**row, "attention_mask": [1] * len(row["input_ids"])}
    return {name: np.array([given.get(name, [0] * len(row["input_ids"]))], np.int64) for name in reads}


def _joined(found: Sequence[Found], name: str) -> Array:
    return np.concatenate([one[name].reshape(-1, one[name].shape[-1]) if one[name].ndim > 1 else one[name] for one in found])


def _tables(found: Found, names: Sequence[str]) -> list[Array]:
    """The scores that something is chosen by, one choice each: of every token, of every mask, of the beginning and the end."""
    return [table for name in names for table in (found[name] if found[name].ndim > 1 else [found[name]])]


def _first_difference(
    folder: Path, manifest: Manifest, checkpoint: Checkpoint, row: Row, reads: Sequence[str], tell: Tell
) -> OutputDifference | None:
    from zen_edge.check_tensors import first_of

    tell("export in fp32 and bisect")
    with tempfile.TemporaryDirectory() as name:
        fresh = Path(name) / "fresh"
        export_again(checkpoint, manifest, fresh)
        return first_of("encoder", _feeds(row, reads), fresh, folder, manifest)[0]
