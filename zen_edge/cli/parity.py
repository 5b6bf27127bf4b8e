"""zen-edge parity"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from zen_edge.cli import app
from zen_edge.cli.console import console
from zen_edge.cli.progress import steps


@app.command()
def parity(
    bundle: Annotated[Path, typer.Argument(help="A folder that `zen-edge export` wrote.")],
    model: Annotated[str, typer.Argument(help="The checkpoint, or file.py:factory, that it was exported from.")],
    inputs: Annotated[
        Path | None,
        typer.Option(help=".txt (a line each) or .jsonl with source and target; a built-in set otherwise. Of a module: .npz of its inputs."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Compare on the first N lines only.")] = None,
    revision: Annotated[str | None, typer.Option(help="A branch, tag or commit of the hub id.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report to FILE.html or FILE.json.")] = None,
    bisect: Annotated[bool, typer.Option("--bisect", help="Name the first tensor inside a graph that is out of tolerance.")] = False,
    device: Annotated[str, typer.Option(help="Where the bundle runs: cpu, cuda or auto; the model runs on the CPU.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Compare a bundle with its PyTorch model: tensors, generated tokens and text. Exit status 3 if they differ."""
    import zen_edge
    from zen_edge.reports import check_report_path, print_report, write_report

    if report is not None:
        check_report_path(report)
    with steps() as tell:
        found = zen_edge.parity(bundle, model, inputs=inputs, limit=limit, revision=revision, bisect=bisect, device=device, tell=tell)
    if report is not None:
        write_report(found, report)
    if as_json:
        typer.echo(json.dumps(found.to_json(), ensure_ascii=False))
    else:
        print_report(found, console())
    if not found.passed:
        raise typer.Exit(3)
