"""Hold a bundle against the PyTorch model it was made from. The one place besides the CLI that calls both rooms."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from zen_edge.errors import CheckFailedError, InputError, MissingDependencyError
from zen_edge.inputs import BUILT_IN, Line, read_lines
from zen_edge.manifest import Manifest, read_manifest, with_parity, write_manifest
from zen_edge.parity import OutputDifference, ParityReport, bisect, compare_outputs, compare_texts, compare_tokens, tolerance_of

if TYPE_CHECKING:
    from zen_edge.exporters.checkpoint import Checkpoint
    from zen_edge.exporters.reference import Reference
    from zen_edge.runtimes.pipelines.text_to_text import TextToText
    from zen_edge.runtimes.session import Session

Array = npt.NDArray[Any]
Tell = Callable[[str], None]
BEAMS = 4
PADDED_ROWS = 16  # lines that are padded to one length
CASES = tuple(
    (f"{search} {how}", beams, rows) for search, beams in (("greedy", 1), ("beam", BEAMS)) for how, rows in (("alone", 1), ("padded", PADDED_ROWS))
)
# The short check after an export: seconds of PyTorch for a model of 74 M parameters, not minutes.
VERIFY_CASES = (("greedy alone", 1, 1), ("beam padded", BEAMS, PADDED_ROWS))
VERIFY_LINES, VERIFY_TOKENS = 3, 12


def parity(
    bundle: str | Path,
    model: str | Path,
    *,
    inputs: Sequence[str] | Path | None = None,
    limit: int | None = None,
    revision: str | None = None,
    bisect: bool = False,
    keep: bool = True,
    tell: Tell = lambda step: None,
) -> ParityReport:
    """Compare `bundle` with `model`, tensors, tokens and text, and keep the report in the bundle.

    inputs: lines, or a .txt or .jsonl file; None: a built-in set. bisect: also name the first tensor inside a graph that is out of tolerance.
    Raises CheckFailedError if the bundle was made from other weights; a difference raises nothing: look at `passed`.
    """
    load_checkpoint, _ = _exporters()
    lines = _lines(inputs, limit)
    manifest = read_manifest(Path(bundle))
    tell("load the checkpoint")
    checkpoint = load_checkpoint(model, revision)
    report = compare(Path(bundle), manifest, checkpoint, lines, find_first=bisect, tell=tell)
    if keep:
        write_manifest(Path(bundle), with_parity(manifest, report.to_json()))
    return report


def verify(bundle: Path, checkpoint: Checkpoint) -> ParityReport:
    """The short check at the end of an export."""
    return compare(bundle, read_manifest(bundle), checkpoint, BUILT_IN[:VERIFY_LINES], cases=VERIFY_CASES, max_new_tokens=VERIFY_TOKENS)


def compare(
    folder: Path,
    manifest: Manifest,
    checkpoint: Checkpoint,
    lines: Sequence[Line],
    *,
    cases: Sequence[tuple[str, int, int]] = CASES,
    max_new_tokens: int | None = None,
    find_first: bool = False,
    tell: Tell = lambda step: None,
) -> ParityReport:
    """Outputs on teacher-forced tokens, generated tokens greedy and beam, alone and padded, and text metrics where every line has a target."""
    _, make_reference = _exporters()
    from zen_edge.runtimes import load

    reference: Reference = make_reference(checkpoint)
    if manifest.source["weights_sha256"] != reference.weights_hash:
        raise CheckFailedError(
            f"the bundle was made from other weights ({manifest.source['name']}) than {checkpoint.name}: give the checkpoint it was exported from, or export again."
        )
    sources = [line.source for line in lines if line.source.strip()]
    with load(folder, device="cpu") as pipeline:
        tokens: dict[str, list[tuple[int, ...]]] = {}
        compared = {}
        for name, num_beams, rows in cases:
            tell(f"generate, {name}")
            expected = list(_reference_tokens(reference, sources, rows, num_beams, max_new_tokens))
            given = list(_bundle_tokens(pipeline, sources, rows, num_beams, max_new_tokens))
            margins = _margins(reference, sources, expected, given, whole=num_beams > 1)
            compared[name] = compare_tokens(expected, given, margins, reference.decode)
            tokens[f"reference {name}"], tokens[f"bundle {name}"] = expected, given
        tell("compare outputs")
        outputs = list(compare_graphs(folder, manifest, reference, sources[:PADDED_ROWS], tokens[f"reference {cases[0][0]}"][:PADDED_ROWS]))
        tell("compare texts")
        targets = [line.target for line in lines if line.source.strip() and line.target is not None]
        text = {}
        if len(targets) == len(sources):
            texts = [
                [decode(row) for row in tokens[f"{side} {cases[-1][0]}"]]
                for side, decode in (("reference", reference.decode), ("bundle", pipeline.decode))
            ]
            text = compare_texts(targets, *texts)
    first = None
    if find_first:
        tell("export in fp32 and bisect")
        first = _first_difference(folder, manifest, checkpoint, reference, sources[:4])
    return ParityReport(manifest.precision, tuple(outputs), compared, text, first, _about(manifest, checkpoint, len(sources)))


def compare_graphs(
    folder: Path, manifest: Manifest, reference: Reference, sources: Sequence[str], tokens: Sequence[Sequence[int]]
) -> Iterator[OutputDifference]:
    """Each output of each graph in a padded batch: the encoder's keys and values where there is no padding; the decoder's scores along `tokens`,
    the first half of the positions in one step and the others one at a time, so that past lengths and positions are tried."""
    from zen_edge.runtimes.batching import pad
    from zen_edge.runtimes.session import Session, find_provider

    rows = [reference.encode(line) for line in sources]
    ids, mask = pad(rows, reference.pad_token_id)
    provider = find_provider("cpu")
    encoder, decoder = (Session(folder / manifest.graph(name).file, provider, None) for name in ("encoder", "decoder"))
    expected = reference.cross(ids, mask)
    cross = {name: value.numpy() for name, value in encoder.run({"input_ids": ids, "attention_mask": mask}, list(expected)).items()}
    for name, value in expected.items():
        yield compare_outputs(f"encoder.{name}", value, cross[name], manifest.precision, np.broadcast_to(mask[:, None, :, None] == 1, value.shape))

    forced, seen = pad([[reference.start_token_id, *row[:-1]] for row in tokens], reference.pad_token_id)
    logits = _forced_logits(decoder, expected, mask, forced, reference)
    scores = reference.logits(ids, mask, forced)
    yield compare_outputs("decoder.logits", scores, logits, manifest.precision, np.broadcast_to(seen[:, :, None] == 1, scores.shape))


def _forced_logits(decoder: Session, cross: dict[str, Array], mask: Array, forced: Array, reference: Reference) -> Array:
    """The decoder's scores (B,S,V) along `forced` (B,S)."""
    B, S = forced.shape
    sizes = reference.sizes
    past: dict[str, Any] = {name: np.zeros((B, sizes.heads, 0, sizes.head_size), np.float32) for name in decoder.inputs if name.startswith("past_")}
    fixed = {**cross, "attention_mask": mask, "top_k": np.array([1]), "want_log_sum_exp": np.array(False)}
    presents = [name.replace("past_", "present_") for name in past]
    found = []
    first = max(1, S // 2)
    for start, end in [(0, first), *((i, i + 1) for i in range(first, S))]:
        step = decoder.run({"input_ids": np.ascontiguousarray(forced[:, start:end]), **fixed, **past}, ["logits", *presents])
        past = {name: step[present] for name, present in zip(past, presents, strict=True)}
        found.append(step["logits"].numpy())
    return np.concatenate(found, axis=1)


def _reference_tokens(
    reference: Reference, sources: Sequence[str], size: int, num_beams: int, max_new_tokens: int | None
) -> Iterator[tuple[int, ...]]:
    from zen_edge.runtimes.batching import pad

    for start in range(0, len(sources), size):
        ids, mask = pad([reference.encode(line) for line in sources[start : start + size]], reference.pad_token_id)
        yield from reference.generate(ids, mask, num_beams, max_new_tokens)


def _bundle_tokens(pipeline: TextToText, sources: Sequence[str], size: int, num_beams: int, max_new_tokens: int | None) -> Iterator[tuple[int, ...]]:
    length = {} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}
    for start in range(0, len(sources), size):
        for found in pipeline.generate(sources[start : start + size], num_beams=num_beams, num_return_sequences=1, **length):
            yield found[0].tokens


def _margins(
    reference: Reference, sources: Sequence[str], expected: list[tuple[int, ...]], given: list[tuple[int, ...]], *, whole: bool
) -> Callable[[int, int, int, int], float]:
    """How much more likely the reference finds its token than the bundle's, at the step where they part.

    A beam search chooses between whole sequences: there (`whole`) the difference of their total log-probabilities counts if it is smaller.
    """

    def margin(i: int, step: int, token: int, other: int) -> float:
        ids = reference.encode(sources[i])
        table = reference.log_probabilities(ids, expected[i])
        apart = float(table[step, token] - table[step, other])
        if not whole or len(expected[i]) != len(given[i]):
            return apart
        totals = [float(sum(reference.log_probabilities(ids, row)[np.arange(len(row)), list(row)])) for row in (expected[i], given[i])]
        return min(apart, totals[0] - totals[1], key=abs)

    return margin


def _first_difference(
    folder: Path, manifest: Manifest, checkpoint: Checkpoint, reference: Reference, sources: Sequence[str]
) -> OutputDifference | None:
    """The first tensor, in the order of computation, that is out of tolerance between the bundle and a fresh fp32 export of its checkpoint."""
    import tempfile

    from zen_edge.exporters import export
    from zen_edge.runtimes.batching import pad

    ids, mask = pad([reference.encode(line) for line in sources], reference.pad_token_id)
    forced = np.full((len(sources), 3), reference.start_token_id, np.int64)
    forced[:, 1:] = ids[:, :1]
    with tempfile.TemporaryDirectory() as name:
        fresh = Path(name) / "fresh"
        export(checkpoint.folder or checkpoint.name, fresh, precision="fp32", task=manifest.task, revision=checkpoint.revision)
        past = np.zeros((len(sources), reference.sizes.heads, 0, reference.sizes.head_size), np.float32)
        cross = reference.cross(ids, mask)
        feeds: dict[str, dict[str, Array]] = {"encoder": {"input_ids": ids, "attention_mask": mask}}
        feeds["decoder"] = {**cross, "input_ids": forced, "attention_mask": mask, "top_k": np.array([1]), "want_log_sum_exp": np.array(False)}
        feeds["decoder"] |= {name.replace("cross_", "past_"): past for name in cross}
        for graph, values in feeds.items():
            order, expected = _every_tensor(fresh, f"{graph}.onnx", values)
            _, given = _every_tensor(folder, manifest.graph(graph).file, values)
            found = bisect(order, {f"{n}": v for n, v in expected.items() if n in given}, given, tolerance_of(manifest.precision))
            if found is not None:
                return OutputDifference(f"{graph}.{found.name}", found.max_abs, found.max_rel, found.cosine, found.passed, found.note)
    return None


def _every_tensor(folder: Path, file: str, feeds: dict[str, Array]) -> tuple[list[str], dict[str, Array]]:
    from zen_edge.exporters.probe import with_every_output
    from zen_edge.runtimes.session import Session, find_provider

    graph, names = with_every_output(folder / file)
    session = Session(folder / file, find_provider("cpu"), None, graph=graph)
    found = session.run({name: feeds[name] for name in session.inputs}, names)
    return names, {name: value.numpy() for name, value in found.items()}


def _lines(inputs: Sequence[str] | Path | None, limit: int | None) -> tuple[Line, ...]:
    if inputs is None:
        return BUILT_IN[:limit]
    if isinstance(inputs, Path):
        return read_lines(inputs, limit)
    lines = tuple(Line(source) for source in inputs if source.strip())[:limit]
    if not lines:
        raise InputError("no lines to compare on: every one given is blank.")
    return lines


def _exporters() -> tuple[Callable[..., Checkpoint], Callable[..., Reference]]:
    try:
        from zen_edge.exporters.checkpoint import load_checkpoint
        from zen_edge.exporters.reference import Reference
    except ImportError as error:
        raise MissingDependencyError(f'comparing with PyTorch needs {error.name}: pip install "zen-edge[export]".') from error
    return load_checkpoint, Reference


def _about(manifest: Manifest, checkpoint: Checkpoint, lines: int) -> dict[str, Any]:
    versions = {}
    for name in ("zen-edge", "torch", "transformers", "onnxruntime", "onnxruntime-gpu"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "bundle": {"precision": manifest.precision, "task": manifest.task, "made_with": manifest.made_with},
        "model": Path(checkpoint.name).name,
        "lines": lines,
        "versions": versions,
        "machine": {"system": platform.platform(), "processor": platform.processor() or platform.machine()},
    }
