"""Hold a bundle against the PyTorch model it was made from. The one place besides the CLI that calls both rooms."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from zen_edge import check_answers, check_ctc, check_encoder, check_half, check_module, check_seq2seq, check_speech, check_utterances, compared_on
from zen_edge.check_again import export_again
from zen_edge.check_generated import CASES, PADDED_ROWS, VERIFY_CASES, VERIFY_LINES, VERIFY_TOKENS, generated, scored_texts
from zen_edge.check_tensors import compare_graphs, first_difference
from zen_edge.checked import quoted
from zen_edge.errors import InputError, MissingDependencyError, OptionError
from zen_edge.files import reason
from zen_edge.inputs import BUILT_IN, Line, read_lines
from zen_edge.manifest import Manifest, hears_utterances, read_manifest, with_parity, write_manifest
from zen_edge.parity import OutputDifference, ParityReport, TokenComparison
from zen_edge.tasks import SEQUENCE_TO_SEQUENCE
from zen_edge.text_scores import require_scores

if TYPE_CHECKING:
    import torch

    from zen_edge.exporters.checkpoint import Checkpoint
    from zen_edge.exporters.own_module import OwnModule
    from zen_edge.exporters.own_seq2seq import OwnSeq2Seq
    from zen_edge.exporters.reference import Reference

Tell = Callable[[str], None]


def parity(
    bundle: str | Path,
    model: str | Path | torch.nn.Module,
    *,
    inputs: Sequence[str] | str | Path | Mapping[str, Any] | None = None,
    limit: int | None = None,
    revision: str | None = None,
    bisect: bool = False,
    device: str = "cpu",
    keep: bool = True,
    tell: Tell = lambda step: None,
) -> ParityReport:
    """Compare `bundle` with `model`, tensors, tokens and text, and keep the report in the bundle.

    inputs: a list of lines, or a .txt or .jsonl file; None: a built-in set. bisect: also name the first tensor inside a graph that is out of
    tolerance. device: where the bundle runs; the model runs on the CPU. Raises CheckFailedError if the bundle was made from other weights, InputError for lines that cannot be compared on; a difference
    raises nothing: look at `passed`.
    """
    from zen_edge.runtimes.providers import find_provider

    find_provider(device)  # before a checkpoint is loaded for nothing
    manifest = read_manifest(Path(bundle))
    with compared_on.comparing_on(device):
        report = _compared(Path(bundle), manifest, model, inputs, limit, revision, bisect=bisect, tell=tell)
        report = check_half.judged(
            report,
            Path(bundle),
            manifest,
            lambda out: export_again(_source(manifest, model, inputs), manifest, out, revision=revision),
            lambda folder: _compared(folder, read_manifest(folder), model, inputs, limit, revision, bisect=False, tell=tell),
            tell,
        )
    report = replace(report, about={**report.about, **({} if device == "cpu" else {"device": device})})
    return _kept(Path(bundle), manifest, report, tell) if keep else report


def _compared(
    bundle: Path,
    manifest: Manifest,
    model: str | Path | torch.nn.Module,
    inputs: Sequence[str] | str | Path | Mapping[str, Any] | None,
    limit: int | None,
    revision: str | None,
    *,
    bisect: bool,
    tell: Tell,
) -> ParityReport:
    load_checkpoint, _ = _exporters()
    if manifest.task == "module":
        return _of_module(bundle, manifest, model, inputs, bisect=bisect, tell=tell)
    if manifest.task == SEQUENCE_TO_SEQUENCE:
        return _of_seq2seq(bundle, manifest, model, inputs, limit, bisect=bisect, tell=tell)
    if not isinstance(model, str | Path) or isinstance(inputs, Mapping):
        raise OptionError("the bundle was made from a checkpoint: give its folder or hub id, and lines of text.")
    questions = check_answers.asked(manifest, inputs, limit)
    lines = check_answers.as_lines(questions) or _lines(inputs, limit)
    if any(line.target is not None for line in lines):
        require_scores(manifest.task)
    tell("load the checkpoint")
    checkpoint = load_checkpoint(model, revision, manifest.task)
    if check_encoder.is_encoder(manifest):
        report, counts = check_encoder.compare(bundle, manifest, checkpoint, lines, only_fitting=inputs is None, bisect=bisect, tell=tell)
        tell("compare answers")
        text = check_answers.compare_answers(bundle, manifest, checkpoint, questions)
        report = replace(report, text=text, about=_about(manifest, checkpoint, **counts))
    elif check_ctc.is_ctc(manifest):
        report, counts = check_ctc.compare(bundle, manifest, checkpoint, None if inputs is None else lines, bisect=bisect, tell=tell)
        report = replace(report, about=_about(manifest, checkpoint, **counts))
    elif hears := _hears(manifest):
        if bisect:
            raise OptionError(
                "bisecting is for texts and for models with one output for every frame, not for recognizers with a decoder: leave it out."
            )
        report, counts = hears(bundle, manifest, checkpoint, None if inputs is None else lines, tell=tell)
        report = replace(report, about=_about(manifest, checkpoint, **counts))
    else:
        report = compare(bundle, manifest, checkpoint, lines, find_first=bisect, only_fitting=inputs is None, tell=tell)
    return report


def _source(manifest: Manifest, model: str | Path | torch.nn.Module, inputs: object) -> str | Path | OwnModule | OwnSeq2Seq:
    """What the bundle was made from: the modules that `model` means, or the checkpoint that it names."""
    from zen_edge.exporters import find_own

    own = find_own(model, inputs if manifest.task == "module" and not isinstance(model, str | Path) else None)
    return own or cast("str | Path", model)


def _kept(bundle: Path, manifest: Manifest, report: ParityReport, tell: Tell) -> ParityReport:
    try:
        write_manifest(bundle, with_parity(manifest, report.to_json()))
    except OSError as error:  # a bundle that is read-only can be compared all the same
        tell(f"the report was not kept in the bundle ({reason(error)})")
    return report


def _of_module(bundle: Path, manifest: Manifest, model: Any, inputs: object, *, bisect: bool, tell: Tell) -> ParityReport:
    """Of a module of one's own, `file.py:factory` or itself with its inputs."""
    from zen_edge.exporters import find_own
    from zen_edge.exporters.own_module import OwnModule

    tell("load the module")
    own = find_own(model, None if isinstance(model, str | Path) else inputs)
    if not isinstance(own, OwnModule):
        raise OptionError(f"the bundle holds a module of your own, and {model} is none: give the module's factory, file.py:factory.")
    if inputs is not None and isinstance(model, str | Path):
        own = check_module.with_inputs(own, inputs)
    report, counts = check_module.compare(bundle, manifest, own, bisect=bisect, tell=tell)
    return replace(report, about=_about(manifest, own, **counts))


def _of_seq2seq(bundle: Path, manifest: Manifest, model: Any, inputs: Any, limit: int | None, *, bisect: bool, tell: Tell) -> ParityReport:
    """Of an encoder and a step of one's own, `file.py:factory` or a Seq2Seq."""
    from zen_edge.exporters import find_own
    from zen_edge.exporters.own_seq2seq import OwnSeq2Seq

    lines = None if inputs is None else _lines(inputs, limit)
    if any(line.target is not None for line in lines or ()):
        require_scores(manifest.task)
    tell("load the modules")
    own = find_own(model)
    if not isinstance(own, OwnSeq2Seq):
        raise OptionError(
            f"the bundle holds an encoder and a step of your own, and {model} is none: give the factory that returns a Seq2Seq, file.py:factory."
        )
    found = check_seq2seq.own_lines(own)[:limit] if lines is None else lines
    report, counts = check_seq2seq.compare(bundle, manifest, own, found, bisect=bisect, tell=tell)
    return replace(report, about=_about(manifest, own, **counts))


def _hears(manifest: Manifest) -> Callable[..., tuple[ParityReport, dict[str, int]]] | None:
    """What compares a recognizer with a decoder; None for other bundles."""
    return check_utterances.compare if hears_utterances(manifest) else check_speech.compare if check_speech.hears(manifest) else None


def verify(bundle: Path, checkpoint: Checkpoint | OwnModule | OwnSeq2Seq) -> ParityReport:
    """The short check at the end of an export: the tokenizer on hard lines and its whole vocabulary, then a few lines through the model.

    Raises CheckFailedError for a tokenizer that does not do what transformers' does.
    """
    from zen_edge.runtimes.memory import keeping, sparing

    manifest = read_manifest(bundle)
    with keeping(sparing(manifest)), _in_turns(manifest, checkpoint):
        return check_half.judged(
            _verified(bundle, manifest, checkpoint),
            bundle,
            manifest,
            lambda out: export_again(checkpoint, manifest, out),
            lambda folder: _verified(folder, read_manifest(folder), checkpoint),
            lambda step: None,
        )


@contextmanager
def _in_turns(manifest: Manifest, checkpoint: Checkpoint | OwnModule | OwnSeq2Seq) -> Iterator[None]:
    """A large bundle and the checkpoint that it was made from do not hold memory at the same time."""
    from zen_edge.exporters.checkpoint import Checkpoint
    from zen_edge.exporters.turns import in_turns
    from zen_edge.runtimes.memory import Turns, sparing

    if sparing(manifest) == "auto" or not isinstance(checkpoint, Checkpoint):
        yield
        return
    sessions = Turns()
    with in_turns(checkpoint.model, sessions.rest) as begin, sessions.taken(begin):
        yield


def _verified(bundle: Path, manifest: Manifest, checkpoint: Checkpoint | OwnModule | OwnSeq2Seq) -> ParityReport:
    from zen_edge.exporters.tokenization import prove_tokenizer, prove_windows
    from zen_edge.runtimes.tokenization import load_tokenizer
    from zen_edge.runtimes.tokenization.fast import FastTokenizer

    if manifest.task == "module":
        report, counts = check_module.compare(bundle, manifest, cast("OwnModule", checkpoint))
        return replace(report, about=_about(manifest, checkpoint, **counts))
    if manifest.task == SEQUENCE_TO_SEQUENCE:
        own = cast("OwnSeq2Seq", checkpoint)
        report, counts = check_seq2seq.compare(bundle, manifest, own, check_seq2seq.own_lines(own), cases=VERIFY_CASES, max_new_tokens=VERIFY_TOKENS)
        return replace(report, about=_about(manifest, own, **counts))
    checkpoint = cast("Checkpoint", checkpoint)
    if check_ctc.is_ctc(manifest):
        report, counts = check_ctc.compare(bundle, manifest, checkpoint, None, prove=True, tell=lambda step: None)
        return replace(report, about=_about(manifest, checkpoint, **counts))
    if hears := _hears(manifest):
        report, counts = hears(bundle, manifest, checkpoint, None, short=True, tell=lambda step: None)
        return replace(report, about=_about(manifest, checkpoint, **counts))
    ours = load_tokenizer(bundle, manifest.tokenizer)
    if check_encoder.is_encoder(manifest):
        prove_tokenizer(checkpoint.tokenizer, ours.encode, ours.decode, ours.forced_bos_token_id)
        if isinstance(ours, FastTokenizer) and manifest.task in check_encoder.PAIRED:
            prove_windows(checkpoint.tokenizer, ours.windows)
        report, counts = check_encoder.compare(bundle, manifest, checkpoint, BUILT_IN, only_fitting=True, tell=lambda step: None)
        return replace(report, about=_about(manifest, checkpoint, **counts))
    prefix = str(manifest.tokenizer.get("prefix", ""))
    prove_tokenizer(checkpoint.tokenizer, ours.encode, ours.decode, ours.forced_bos_token_id, prefix=prefix)
    lines = BUILT_IN[:VERIFY_LINES]
    return compare(bundle, manifest, checkpoint, lines, cases=VERIFY_CASES, max_new_tokens=VERIFY_TOKENS, only_fitting=True)


def compare(
    folder: Path,
    manifest: Manifest,
    checkpoint: Checkpoint,
    lines: Sequence[Line],
    *,
    cases: Sequence[tuple[str, int, int]] = CASES,
    max_new_tokens: int | None = None,
    find_first: bool = False,
    only_fitting: bool = False,
    tell: Tell = lambda step: None,
) -> ParityReport:
    """Outputs on teacher-forced tokens, generated tokens greedy and beam, alone and padded, and text metrics of the lines that have a target.

    only_fitting: leave out lines that are longer than the model can take; otherwise they raise InputError.
    """
    _, make_reference = _exporters()
    from zen_edge.runtimes import load
    from zen_edge.runtimes.tokenization import load_tokenizer

    language = manifest.tokenizer.get("target_lang")  # the checkpoint's own, where it speaks several and names one
    if manifest.generation.get("decoder_start_token_id") in (manifest.tokenizer.get("languages") or {}).values():
        language = None  # the decoder starts from its language, on both sides
    spoken = load_tokenizer(folder, manifest.tokenizer).forced_bos_token_id(language) if language else None
    reference: Reference = make_reference(checkpoint, str(manifest.tokenizer.get("prefix", "")), spoken)
    manifest.require_weights(reference.weights_hash, checkpoint.name)
    if only_fitting:
        lines = _fitting(lines, reference, manifest)
    sources = [line.source for line in lines]
    rows = _encoded(sources, reference, manifest)
    max_new_tokens = _within_positions(max_new_tokens, manifest)
    with load(folder, device=compared_on.device()) as pipeline:
        compared, tokens = generated(pipeline, reference, rows, sources, cases=cases, max_new_tokens=max_new_tokens, language=language, tell=tell)
        text, scored = scored_texts(pipeline, reference, lines, tokens[cases[-1][0]], manifest.task, tell)
    forced, _ = tokens[cases[0][0]]
    tell("compare outputs")
    outputs = tuple(compare_graphs(folder, manifest, reference, rows[:PADDED_ROWS], forced[:PADDED_ROWS]))
    first = None
    if find_first:
        tell("export in fp32 and bisect")
        chosen = _telling(rows, compared.values())
        first = _bisect(folder, manifest, checkpoint, reference, [rows[i] for i in chosen], [forced[i] for i in chosen])
    about = _about(manifest, checkpoint, lines=len(lines), lines_with_target=scored)
    return ParityReport(manifest.precision, outputs, compared, text, first, about)


def _encoded(sources: Sequence[str], reference: Reference, manifest: Manifest) -> list[list[int]]:
    """The reference's ids of every line. InputError for a line that is not Unicode or longer than the model can take."""
    from zen_edge.runtimes.tokenization.text import require_unicode

    longest = manifest.limits.get("max_source_length")
    rows = []
    for source in sources:
        try:
            require_unicode(source)
        except InputError as error:
            raise InputError(f"the line {quoted(source)}: {error}") from None
        rows.append(reference.encode(source))
        if longest is not None and len(rows[-1]) > longest:
            raise InputError(f"the line {quoted(source)} has {len(rows[-1])} tokens, the model takes {longest}: shorten it or leave it out.")
    return rows


def _fitting(lines: Sequence[Line], reference: Reference, manifest: Manifest) -> Sequence[Line]:
    longest = manifest.limits.get("max_source_length")
    fitting = [line for line in lines if longest is None or len(reference.encode(line.source)) <= longest]
    if not fitting:
        raise InputError(f"the model takes {longest} tokens, fewer than any built-in line has: give lines of your own with --inputs.")
    return fitting


def _within_positions(max_new_tokens: int | None, manifest: Manifest) -> int | None:
    """How much to generate: as asked, or as the generation config says, but no more than the model has positions for."""
    from zen_edge.runtimes.decoding import GenerationOptions

    asked = max_new_tokens or GenerationOptions.from_defaults(manifest.generation).length_limit(1) - 1
    positions = manifest.limits.get("max_target_length", asked)
    return max_new_tokens if asked <= positions else positions


def _telling(rows: Sequence[Sequence[int]], compared: Iterable[TokenComparison]) -> list[int]:
    """A few lines that show a difference if any do: the first that parted in each case, the shortest and the longest."""
    parted = [case.first_divergence.input for case in compared if case.first_divergence]
    by_length = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    return list(dict.fromkeys((*parted, by_length[0], by_length[-1])))


def _bisect(
    folder: Path, manifest: Manifest, checkpoint: Checkpoint, reference: Reference, rows: Sequence[Sequence[int]], tokens: Sequence[Sequence[int]]
) -> OutputDifference | None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        fresh = Path(name) / "fresh"
        export_again(checkpoint, manifest, fresh)
        return first_difference(fresh, folder, manifest, reference, rows, tokens)


def _lines(inputs: Sequence[str] | str | Path | None, limit: int | None) -> tuple[Line, ...]:
    """The lines to compare on, blank ones left out."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise OptionError(f"limit must be a whole number from 1, not {limit!r}.")
    if inputs is None:
        return BUILT_IN[:limit]
    if isinstance(inputs, str | Path):
        lines = read_lines(Path(inputs), limit)
    elif not isinstance(inputs, Sequence):
        raise InputError(f"inputs: expected a list of texts or a path, got a value of type {type(inputs).__name__}.")
    else:
        for number, source in enumerate(inputs, 1):
            if not isinstance(source, str):
                raise InputError(f"input {number}: expected a text, got a value of type {type(source).__name__}.")
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


def _about(manifest: Manifest, checkpoint: Checkpoint | OwnModule | OwnSeq2Seq, **counts: int) -> dict[str, Any]:
    versions = {}
    for name in ("zen-edge", "torch", "transformers", "onnxruntime", "onnxruntime-gpu"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "bundle": {"precision": manifest.precision, "task": manifest.task, "made_with": manifest.made_with},
        "model": Path(checkpoint.name).name,
        **counts,
        "versions": versions,
        "machine": {"system": platform.platform(), "processor": platform.processor() or platform.machine()},
    }
