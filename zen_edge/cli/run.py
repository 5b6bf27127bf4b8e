"""zen-edge run"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zen_edge.cli import app, note
from zen_edge.cli.arrays import run_module
from zen_edge.cli.console import own_stderr
from zen_edge.cli.live import print_stream
from zen_edge.cli.sources import paths, questions, texts
from zen_edge.errors import OptionError, ZenEdgeError

if TYPE_CHECKING:
    from zen_edge.runtimes.pipelines.hypothesis import Hypothesis

WINDOW = 1024  # lines read ahead: enough to sort by length, few enough to answer a pipe while it is written
RECORDINGS = 16  # the same of recordings, which take seconds each


@app.command()
def run(
    bundle: Annotated[Path, typer.Argument(help="A folder that `zen-edge export` wrote.")],
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="INPUT", help="Texts, or paths of recordings; without any, one per line on stdin.")
    ] = None,
    file: Annotated[list[Path] | None, typer.Option(help="A whole file as one input; may be given again.")] = None,
    arrays: Annotated[Path | None, typer.Option("--inputs", metavar="FILE.npz", help="A module of your own: its inputs by name.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE.npz", help="A module of your own: where its outputs go.")] = None,
    num_beams: Annotated[int | None, typer.Option(help="Beams; 1 is greedy.")] = None,
    num_return_sequences: Annotated[int | None, typer.Option(help="Results for each input, best first.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Most tokens to generate.")] = None,
    max_length: Annotated[int | None, typer.Option(help="The same, the decoder's start counted in.")] = None,
    min_new_tokens: Annotated[int | None, typer.Option(help="Fewest tokens to generate.")] = None,
    min_length: Annotated[int | None, typer.Option(help="The same, the decoder's start counted in.")] = None,
    length_penalty: Annotated[float | None, typer.Option(help="Above 0 favours longer results of a beam search.")] = None,
    early_stopping: Annotated[str | None, typer.Option(help="true, false or never.")] = None,
    no_repeat_ngram_size: Annotated[int | None, typer.Option(help="No sequence of N tokens comes twice.")] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="Above 1 makes tokens that were used less likely.")] = None,
    bad_words_ids: Annotated[str | None, typer.Option(help="JSON: lists of token ids that may not come.")] = None,
    suppress_tokens: Annotated[str | None, typer.Option(help="JSON: token ids that may not come.")] = None,
    forced_bos_token_id: Annotated[int | None, typer.Option(help="The first token.")] = None,
    forced_eos_token_id: Annotated[int | None, typer.Option(help="The last token, where the length runs out.")] = None,
    do_sample: Annotated[bool | None, typer.Option("--do-sample/--no-do-sample", help="Draw tokens in place of taking the best.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Sampling: above 0; below 1 makes likely tokens likelier.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Sampling: among the best K tokens; 0 for all. Question answering: the best K answers.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Sampling: among the best tokens that together have this probability.")] = None,
    seed: Annotated[int | None, typer.Option(help="Sampling: the same number, the same results.")] = None,
    decoder_prefix: Annotated[str | None, typer.Option(help="The beginning of the output, to go on from.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="Any other generation option as NAME=VALUE (JSON).")] = None,
    source_lang: Annotated[str | None, typer.Option(help="The language of the input, where the model knows several.")] = None,
    target_lang: Annotated[str | None, typer.Option(help="The language of the output, where the model knows several.")] = None,
    language: Annotated[
        str | None, typer.Option(help="Speech: the language that is spoken, such as en or english; otherwise it is found out.")
    ] = None,
    translate: Annotated[bool, typer.Option("--translate", help="Speech: write it in English.")] = False,
    prompt: Annotated[str | None, typer.Option(help="Speech: what was said before, or names as they are to be spelled.")] = None,
    window: Annotated[
        str | None,
        typer.Option(metavar="auto|full", help="Speech: auto hears short recordings in a short window; full in one of the model's own length."),
    ] = None,
    batched: Annotated[bool, typer.Option("--batched", help="Speech: cut long recordings at silences and hear the parts side by side.")] = False,
    stream: Annotated[
        int | None,
        typer.Option(
            metavar="HZ", help="Speech: raw 16-bit samples on stdin at this rate, heard as they come; a line for each segment once it is settled."
        ),
    ] = None,
    timestamps: Annotated[str | None, typer.Option(metavar="segment|word", help="Speech: tell when each segment or word is said.")] = None,
    format: Annotated[str | None, typer.Option(metavar="txt|srt|vtt|json", help="Speech: how a transcript is written.")] = None,
    question: Annotated[
        str | None, typer.Option(help="Question answering: about --context, or about each input; otherwise inputs are lines of JSON.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="Question answering: the text that the answer is a part of.")] = None,
    pair: Annotated[
        str | None,
        typer.Option(help="A second text that every input is read with: labels are of both, or inputs are questions and it is their context."),
    ] = None,
    overflow: Annotated[
        str | None, typer.Option(help="An input longer than the model takes: error, split into parts, or truncate to its beginning.")
    ] = None,
    repetition_guard: Annotated[
        bool | None,
        typer.Option(
            "--repetition-guard/--no-repetition-guard", help="Decode again what goes round in circles; without either, where inputs are split."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or auto; otherwise the one the bundle was exported for.")] = None,
    device_id: Annotated[int, typer.Option(min=0, help="Which GPU, counted from 0.")] = 0,
    provider: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[,KEY=VALUE...]",
            help="In the place of --device, a provider of ONNX Runtime with its options; may be given again, for what the first does not run.",
        ),
    ] = None,
    cuda_graphs: Annotated[
        bool, typer.Option("--cuda-graphs", help="CUDA: record steps of a decoder, or runs of fixed shapes, once and replay them.")
    ] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Otherwise as many as the process may use.")] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="auto|mapped|packed",
            help="Weights of large graphs: left in the file, mapped; packed for speed as it opens; auto: by the first run, where there is room.",
        ),
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Compare every file with its sha256 first.")] = False,
    token_log_probs: Annotated[bool, typer.Option("--token-log-probs", help="With --json: the log-probability of each generated token.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One object per input: text, tokens, score.")] = False,
) -> None:
    """Run a bundle without PyTorch: text in, text out, one line per input; of a module of your own, arrays in and out."""
    import zen_edge

    given: dict[str, Any] = {
        "num_beams": num_beams,
        "num_return_sequences": num_return_sequences,
        "max_new_tokens": max_new_tokens,
        "max_length": max_length,
        "min_new_tokens": min_new_tokens,
        "min_length": min_length,
        "length_penalty": length_penalty,
        "early_stopping": {"true": True, "false": False}.get(early_stopping or "", early_stopping),
        "no_repeat_ngram_size": no_repeat_ngram_size,
        "repetition_penalty": repetition_penalty,
        "bad_words_ids": _json("--bad-words-ids", bad_words_ids),
        "suppress_tokens": _json("--suppress-tokens", suppress_tokens),
        "forced_bos_token_id": forced_bos_token_id,
        "forced_eos_token_id": forced_eos_token_id,
        "do_sample": do_sample,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
        "decoder_prefix": decoder_prefix,
        "token_log_probs": token_log_probs or None,
        "source_lang": source_lang,
        "target_lang": target_lang,
        "overflow": overflow,
        "repetition_guard": repetition_guard,
        "language": language,
        "task": "translate" if translate else None,
        "prompt": prompt,
        "window": window,
        "batched": batched or None,
        **_times(timestamps, format),
    }
    as_json = as_json or format == "json"
    options = merged({name: value for name, value in given.items() if value is not None}, option or ())
    if options.get("token_log_probs") and not as_json:
        raise OptionError("token log-probabilities are printed with --json only: add it.")
    if isinstance(prefix := options.get("decoder_prefix"), list) and not all(isinstance(token, int) for token in prefix):
        raise OptionError("decoder_prefix is one for all inputs here: a text or a JSON list of token ids.")
    failed = number = 0
    where: dict[str, Any] = {"device": device, "device_id": device_id, "providers": list(map(_provider, provider)) if provider else None}
    with zen_edge.load(bundle, **where, cuda_graphs=cuda_graphs, threads=threads, verify=verify, memory=memory) as pipeline:
        if device == "auto":
            note(pipeline.provider.why)
        if pipeline.manifest.task == "module":
            return run_module(pipeline, [*([] if arrays is None else [arrays]), *(file or ()), *map(Path, inputs or ())], output, options, as_json)
        if arrays is not None or output is not None:
            raise OptionError(f"--inputs and --output are for modules of your own, and this bundle is for {pipeline.manifest.task}: leave them out.")
        hears = pipeline.manifest.task == "speech-recognition"
        write = _writer(format or ("times" if timestamps else "txt")) if hears else None
        options = pipeline.for_text(options) if hears else options
        if not hears and format is not None:
            raise OptionError(f"--format is for transcripts of speech, and this bundle is for {pipeline.manifest.task}: leave it out.")
        if stream is not None:
            if not hears or inputs or file:
                raise OptionError("--stream hears speech on stdin: it is for bundles of speech recognition, without inputs or --file.")
            return print_stream(pipeline, stream, options, "json" if as_json else format or ("times" if timestamps else "txt"))
        asks = pipeline.manifest.task == "question-answering"
        if not asks and (question is not None or context is not None):
            raise OptionError(
                f"--question and --context are for question-answering, and this bundle is for {pipeline.manifest.task}: leave them out."
            )
        if pair is not None and not asks:
            if pipeline.manifest.task != "text-classification":
                raise OptionError(
                    f"--pair is for text-classification and question-answering, and this bundle is for {pipeline.manifest.task}: leave it out."
                )
            options["text_pair"] = pair
        given_inputs: Iterator[Any] = (
            questions(question, context, inputs, file, pair) if asks else paths(inputs, file) if hears else texts(inputs, file)
        )
        while group := list(islice(given_inputs, RECORDINGS if hears else WINDOW)):
            with own_stderr() if hears else nullcontext():
                answers = iter(pipeline.generate_each([one for one in group if not isinstance(one, ZenEdgeError)], **options))
            found = [one if isinstance(one, ZenEdgeError) else next(answers) for one in group]
            if not as_json and number + len(group) > 1 and any(isinstance(answer, list) and len(answer) > 1 for answer in found):
                raise OptionError("several results for several inputs cannot be told apart line by line: add --json.")
            alone = number == 0 and len(group) == 1
            single = alone and not any(isinstance(answer, list) and len(answer) > 1 for answer in found)
            if write is not None and not as_json and not single and (timestamps or format in ("srt", "vtt")):
                raise OptionError("the times of several recordings or results cannot be told apart: give one, or add --json.")
            for answer in found:
                number += 1
                failed += _print(answer, number, as_json, alone, write)
            sys.stdout.flush()
    if failed:
        raise typer.Exit(1)


def _provider(text: str) -> tuple[str, dict[str, str]]:
    """ "NAME,KEY=VALUE" as ONNX Runtime takes it."""
    name, *options = text.split(",")
    if not name:
        raise OptionError(f"--provider takes NAME[,KEY=VALUE...], and {text!r} names no provider.")
    for option in options:
        if "=" not in option.lstrip("="):
            raise OptionError(f"--provider takes NAME[,KEY=VALUE...], and {option!r} is no KEY=VALUE.")
    return name, dict(option.split("=", 1) for option in options)


def _times(timestamps: str | None, format: str | None) -> dict[str, bool | None]:
    """The options that the times of speech need."""
    if timestamps not in (None, "segment", "word"):
        raise typer.BadParameter(f"--timestamps is segment or word, not {timestamps!r}.")
    wanted = timestamps is not None or format in ("srt", "vtt")
    return {"segments": True if wanted else None, "words": True if timestamps == "word" else None}


def _writer(format: str) -> Callable[[Any], str]:
    from zen_edge.runtimes.speech.subtitles import FORMATS

    if format not in FORMATS:
        raise typer.BadParameter(f"--format is {', '.join(FORMATS)}, not {format!r}.")
    return FORMATS[format]


def _print(answer: list[Any] | ZenEdgeError, number: int, as_json: bool, alone: bool, write: Callable[[Any], str] | None) -> bool:
    """One input's answer on stdout, or its error. Returns whether it is an error. alone: the only input, whose one answer keeps its lines. write: of
    speech, the answer as it is printed."""
    if isinstance(answer, ZenEdgeError):
        if as_json:
            typer.echo(json.dumps({"error": str(answer)}, ensure_ascii=False))
        else:
            typer.echo("")
            note(f"input {number}: {answer}")
        return True
    if as_json:
        results = [result.to_json() if hasattr(result, "to_json") else _json_result(result) for result in answer]
        typer.echo(json.dumps(results[0] | ({"hypotheses": results} if len(results) > 1 else {}), ensure_ascii=False))
        return False
    if write is not None:
        for transcript in answer:
            typer.echo(write(transcript), nl=False)
        return False
    if alone and len(answer) == 1:
        typer.echo(answer[0].text, nl=not answer[0].text.endswith("\n"))
    else:
        for hypothesis in answer:
            typer.echo(" ".join(hypothesis.text.splitlines()))
    if getattr(answer[0], "repetition_guard", False):
        looped = sum(part.hypothesis.repetition_guard for part in answer[0].segments)
        where = f"in {looped} of {len(answer[0].segments)} parts " if looped else ""
        note(f"input {number}: {where}the output went round in circles and was decoded again with a repetition guard.")
    return False


def _json_result(found: Hypothesis) -> dict[str, Any]:
    """JSON has no infinite numbers: what is not finite becomes null."""
    result: dict[str, Any] = {"text": found.text, "tokens": list(found.tokens), "score": found.score if isfinite(found.score) else None}
    if found.log_probs is not None:
        result["log_probs"] = [each if isfinite(each) else None for each in found.log_probs]
    if found.repetition_guard:
        result["repetition_guard"] = True
    if found.segments:
        result["segments"] = [{"source": part.source, **_json_result(part.hypothesis)} for part in found.segments]
    return result


def merged(given: dict[str, Any], more: Iterable[str]) -> dict[str, Any]:
    """The options and those of --option. OptionError for one given twice: one of the two values would be ignored."""
    options = dict(given)
    for name, value in map(_named, more):
        if name in options:
            raise OptionError(f"the option {name} is given twice: leave one out.")
        options[name] = value
    return options


def _json(name: str, text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        raise OptionError(f"{name} takes JSON, such as [[5, 6], [7]], not {text!r}.") from None


def _named(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise OptionError(f"--option takes NAME=VALUE, not {text!r}.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
