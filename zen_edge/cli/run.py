"""zen-edge run"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zen_edge.cli import app
from zen_edge.errors import InputError, OptionError, ZenEdgeError

if TYPE_CHECKING:
    from zen_edge.runtimes.pipelines.text_to_text import Hypothesis

WINDOW = 1024  # lines read ahead: enough to sort by length, few enough to answer a pipe while it is written


@app.command()
def run(
    bundle: Annotated[Path, typer.Argument(help="A folder that `zen-edge export` wrote.")],
    inputs: Annotated[list[str] | None, typer.Argument(metavar="[INPUT]...", help="Texts; without any, one per line on stdin.")] = None,
    file: Annotated[list[Path] | None, typer.Option(help="A whole file as one input; may be given again.")] = None,
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
    option: Annotated[list[str] | None, typer.Option(help="Any other generation option as NAME=VALUE (JSON).")] = None,
    source_lang: Annotated[str | None, typer.Option(help="The language of the input, where the model knows several.")] = None,
    target_lang: Annotated[str | None, typer.Option(help="The language of the output, where the model knows several.")] = None,
    overflow: Annotated[str, typer.Option(help="An input longer than the model takes: error, or truncate to its beginning.")] = "error",
    device: Annotated[str | None, typer.Option(help="cpu, cuda or auto; otherwise the one the bundle was exported for.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Otherwise as many as the process may use.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Compare every file with its sha256 first.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One object per input: text, tokens, score.")] = False,
) -> None:
    """Run a bundle without PyTorch: text in, text out, one line per input."""
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
        "source_lang": source_lang,
        "target_lang": target_lang,
    }
    options = {name: value for name, value in given.items() if value is not None} | dict(map(_named, option or ())) | {"overflow": overflow}
    several = (num_return_sequences or 1) > 1
    failed = 0
    with zen_edge.load(bundle, device=device, threads=threads, verify=verify) as pipeline:
        texts = _texts(inputs, file)
        number = 0
        while window := list(islice(texts, WINDOW)):
            good = [text for text in window if isinstance(text, str)]
            answers = iter(pipeline.generate_each(good, **options))
            for text in window:
                answer = next(answers) if isinstance(text, str) else text
                if several and not as_json and len(window) + number > 1:
                    raise OptionError("several results for several inputs cannot be told apart line by line: add --json.")
                failed += _print(answer, number, as_json)
                number += 1
            sys.stdout.flush()
    if failed:
        raise typer.Exit(1)


def _print(answer: list[Hypothesis] | ZenEdgeError, number: int, as_json: bool) -> bool:
    """One input's answer on stdout, or its error. Returns whether it is an error."""
    if isinstance(answer, ZenEdgeError):
        if as_json:
            typer.echo(json.dumps({"error": str(answer)}, ensure_ascii=False))
        else:
            typer.echo("")
            typer.echo(f"zen-edge: input {number + 1}: {answer}", err=True)
        return True
    if as_json:
        results = [{"text": h.text, "tokens": list(h.tokens), "score": h.score} for h in answer]
        typer.echo(json.dumps(results[0] | ({"hypotheses": results} if len(results) > 1 else {}), ensure_ascii=False))
    else:
        for hypothesis in answer:
            typer.echo(hypothesis.text.replace("\n", " "))
    return False


def _texts(inputs: Iterable[str] | None, files: Iterable[Path] | None) -> Iterator[str | ZenEdgeError]:
    """The arguments, then whole files; without either the lines of stdin. What is no text comes as its error."""
    inputs, files = tuple(inputs or ()), tuple(files or ())
    if inputs or files:
        yield from inputs
        for path in files:
            yield _decoded(path.read_bytes(), str(path)) if path.is_file() else InputError(f"there is no file {path}.")
        return
    if sys.stdin is None or sys.stdin.isatty():
        raise typer.BadParameter("give texts as arguments, --file PATH, or lines on stdin.")
    for number, line in enumerate(sys.stdin.buffer, 1):
        yield _decoded(line.rstrip(b"\r\n"), f"line {number}")


def _decoded(data: bytes, name: str) -> str | ZenEdgeError:
    try:
        return data.decode("utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8")
    except UnicodeDecodeError as error:
        return InputError(f"{name} is not UTF-8 text: {error.reason} at byte {error.start}.")


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
