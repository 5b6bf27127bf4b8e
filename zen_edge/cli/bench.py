"""zen-edge bench"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from zen_edge.cli import app
from zen_edge.cli.progress import steps

WIDTH = 150  # of tables that go to a file or a pipe


@app.command()
def bench(
    bundle: Annotated[list[Path], typer.Argument(help="Folders that `zen-edge export` wrote; ratios are against the first.")],
    against: Annotated[
        str,
        typer.Option(
            metavar="ENGINE,...",
            help="torch, ctranslate2, optimum, openvino; for speech torch, faster_whisper, openvino; for vectors torch, openvino; for answers torch; ENGINE:PRECISION for another precision.",
        ),
    ] = "",
    model: Annotated[
        str | None, typer.Option(help="The checkpoint for the other engines; where it is left out, the one of the first bundle.")
    ] = None,
    batch_sizes: Annotated[str, typer.Option(metavar="N,...", help="Texts in one call.")] = "1",
    num_beams: Annotated[str, typer.Option(metavar="N,...", help="Beams; 1 is greedy.")] = "1",
    inputs: Annotated[
        Path | None,
        typer.Option(
            help=".txt (a line each) or .jsonl with source and target; a built-in set otherwise. For speech a folder of NAME.wav and NAME.txt; for questions .jsonl with question, context and answers."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use the first N lines only.")] = None,
    source_tokens: Annotated[int | None, typer.Option(min=2, help="Made-up lines of exactly N tokens, of the words in the inputs.")] = None,
    new_tokens: Annotated[int | None, typer.Option(min=1, help="Make every engine generate exactly N tokens.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens to generate; 128 if the model has room.")] = None,
    batched: Annotated[
        bool, typer.Option("--batched", help="Measure speech bundles a second time, recordings cut at their silences and heard side by side.")
    ] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Of every engine; otherwise as many as the process may use.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda, for every engine; those that are measured on the CPU alone are told so.")] = "cpu",
    memory: Annotated[
        str | None,
        typer.Option(metavar="auto|mapped|packed", help="Of bundles: where the weights of large graphs lie, as for `zen-edge run`."),
    ] = None,
    cuda_graphs: Annotated[
        bool, typer.Option("--cuda-graphs", help="Of bundles, with --device cuda: record steps once and replay them, as for `zen-edge run`.")
    ] = False,
    rounds: Annotated[int | None, typer.Option(min=1, help="Otherwise 20, or as many as every line needs.")] = None,
    seconds: Annotated[float, typer.Option(min=0, help="No round of a case begins after so many, 3 are done at least.")] = 60,
    report: Annotated[Path | None, typer.Option(metavar="DIR", help="Write report.json and report.html into this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Measure bundles beside other engines: latency, memory, size and quality, interleaved, each in its own process."""
    from zen_edge.benchmarks.bench import Shape, busy, most_new_tokens
    from zen_edge.benchmarks.bench import bench as run
    from zen_edge.benchmarks.engines import ANSWERS, SPEECH
    from zen_edge.benchmarks.inputs import questions
    from zen_edge.benchmarks.measure import Setting
    from zen_edge.benchmarks.report import check_folder, write_report
    from zen_edge.benchmarks.speech import clips
    from zen_edge.benchmarks.terminal import failed_where, print_report
    from zen_edge.errors import InputError
    from zen_edge.inputs import built_in, read_lines
    from zen_edge.manifest import read_manifest
    from zen_edge.runtimes.cores import usable_cores
    from zen_edge.runtimes.memory import keeping

    if new_tokens is not None and max_new_tokens is not None:
        raise typer.BadParameter("give --new-tokens or --max-new-tokens, not both.")
    shapes = [Shape(size, beams) for size in _numbers("--batch-sizes", batch_sizes) for beams in _numbers("--num-beams", num_beams)]
    engines = [name for name in against.split(",") if name.strip()]
    manifest = read_manifest(bundle[0])
    task = manifest.task
    if task == ANSWERS:
        lines = questions(inputs, limit)
    elif task == SPEECH:
        if inputs is None:
            raise InputError("speech is measured on clips: give --inputs FOLDER; python -m zen_edge.benchmarks.make_speech makes one.")
        lines = clips(inputs, limit)
    else:
        lines = built_in(manifest.tokenizer)[:limit] if inputs is None else read_lines(inputs, limit)
    if device not in ("cpu", "cuda"):
        raise typer.BadParameter(f"--device is cpu or cuda, not {device!r}.")
    if report is not None:
        check_folder(report)
    setting = Setting(
        threads or usable_cores(),
        new_tokens or max_new_tokens or most_new_tokens(bundle[0]),
        exactly=new_tokens is not None,
        device=device,
        memory=memory,
        cuda_graphs=cuda_graphs,
        rounds=rounds,
        seconds=seconds,
    )
    with keeping(memory), steps() as tell:
        found = run(bundle, engines, model, shapes, lines, setting, source_tokens=source_tokens, batched=batched, tell=tell)
    if report is not None:
        write_report(found, report)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        for failure in found["failures"]:
            typer.echo(f"zen-edge: {failed_where(failure)}: {failure['error']}", err=True)
    else:
        from rich.console import Console

        console = Console()
        print_report(found, console if console.is_terminal else Console(width=WIDTH))
        for note in busy(found["machine"]):
            typer.echo(f"zen-edge: {note}", err=True)
    if found["failures"]:
        raise typer.Exit(1)


def _numbers(name: str, text: str) -> list[int]:
    numbers = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    if min(numbers) < 1:
        raise typer.BadParameter(f"{name} takes whole numbers from 1, such as 1,8, not {text!r}.")
    return list(dict.fromkeys(numbers))
