"""zen-edge attend"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from zen_edge.checked import quoted
from zen_edge.cli import app, note
from zen_edge.cli.arrays import require_no_options
from zen_edge.errors import InputError, ZenEdgeError
from zen_edge.files import reason

if TYPE_CHECKING:
    from zen_edge.attention_map import AttentionMap

KINDS = (".png", ".html")  # of files


@app.command()
def attend(
    bundle: Annotated[Path, typer.Argument(help="A folder that `zen-edge export --with-attention` wrote.")],
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT", help="One input: a text, the path of a recording, or of a module of your own an .npz file of its inputs."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="map.png, a picture of one map; or map.html, a page with all of them.")],
    pair: Annotated[str | None, typer.Option(help="A second text that is read with it: of a question its context.")] = None,
    kind: Annotated[str | None, typer.Option(metavar="cross|decoder|encoder|self", help="Which attention; the first of these that there is.")] = None,
    layer: Annotated[int | None, typer.Option(help="Which layer, from 0; otherwise the mean of all.")] = None,
    head: Annotated[int | None, typer.Option(help="Which head, from 0; otherwise the mean of all.")] = None,
    row: Annotated[int | None, typer.Option(help="Of a module of your own: which row of the batch, from 0; otherwise the first.")] = None,
    num_beams: Annotated[int | None, typer.Option(help="Beams; 1 is greedy.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Most tokens to generate.")] = None,
    decoder_prefix: Annotated[str | None, typer.Option(help="The beginning of the output, or all of it.")] = None,
    language: Annotated[str | None, typer.Option(help="Speech: the language that is spoken; otherwise it is found out.")] = None,
    source_lang: Annotated[str | None, typer.Option(help="The language of the input, where the model knows several.")] = None,
    target_lang: Annotated[str | None, typer.Option(help="The language of the output, where the model knows several.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="Any other generation option as NAME=VALUE (JSON).")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or auto; otherwise the one the bundle was exported for.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Otherwise as many as the process may use.")] = None,
) -> None:
    """Draw what a model attends to while it answers one input."""
    import zen_edge
    from zen_edge.cli.run import merged

    _check(inputs, out)
    given: dict[str, Any] = {
        "pair": pair,
        "row": row,
        "num_beams": num_beams,
        "max_new_tokens": max_new_tokens,
        "decoder_prefix": decoder_prefix,
        "language": language,
        "source_lang": source_lang,
        "target_lang": target_lang,
    }
    options = merged({name: value for name, value in given.items() if value is not None}, option or ())
    with zen_edge.load(bundle, device=device, threads=threads) as pipeline:
        if device == "auto":
            note(pipeline.provider.why)
        seen = _of_module(pipeline, inputs[0], options) if pipeline.manifest.task == "module" else pipeline.attend(inputs[0], **options)
    _write(_drawn(seen, out, kind, layer, head), out)
    typer.echo(f"{out}: {seen.text}" if seen.text else str(out), err=True)


def _of_module(pipeline: Any, path: str, options: dict[str, Any]) -> AttentionMap:
    from zen_edge.inputs import read_arrays

    require_no_options({name: value for name, value in options.items() if name != "row"})
    return cast("AttentionMap", pipeline.attend(read_arrays(Path(path)), row=options.get("row", 0)))


def _check(inputs: list[str], out: Path) -> None:
    """ZenEdgeError for what is wrong whatever the model says."""
    if len(inputs) != 1:
        raise InputError(f"attend draws one input, and {len(inputs)} are given: put a text in quotation marks, and draw each by itself.")
    if out.suffix.lower() not in KINDS:
        raise ZenEdgeError(f"a map is written as .png or .html, not {quoted(out.name)}: give -o a name with one of these endings.")
    if not out.parent.is_dir():
        raise ZenEdgeError(f"cannot write {quoted(str(out))}: its folder does not exist; make it first.")


def _drawn(seen: AttentionMap, out: Path, kind: str | None, layer: int | None, head: int | None) -> bytes:
    if out.suffix.lower() == ".html":
        from zen_edge.attention_page import fitting, page

        if left := [name for name in seen.kinds if name not in fitting(seen, kind)]:
            note(f"a page has no room for all of this: {', '.join(left)} is left out; draw it as .png, or shorten the input.")
        return page(seen, kind, layer, head).encode()
    from zen_edge.attention_picture import picture

    drawn, missing = picture(seen.chosen(kind, layer, head))
    if missing:
        note(f"no font installed here has {missing}: written as numbers; install one, such as Noto Sans CJK, or write an .html page.")
    return drawn


def _write(data: bytes, out: Path) -> None:
    from zen_edge.files import write_whole

    try:
        write_whole(out, data)
    except OSError as error:
        raise ZenEdgeError(f"cannot write {quoted(str(out))}: {reason(error)}; choose another place.") from None
