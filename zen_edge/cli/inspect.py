"""zen-edge inspect"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from zen_edge.cli import app
from zen_edge.cli.console import console


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE|FILE.onnx", help="A bundle, or any ONNX graph.")],
    device: Annotated[str, typer.Option(help="Which device's kernels to look for: cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show what a bundle or graph is made of: operators, fused and unfused attention, what runs on a device and what does not."""
    from zen_edge.inspection import inspect_bundle, inspect_graph, print_inspection

    found = inspect_graph(path, device) if path.suffix == ".onnx" else inspect_bundle(path, device)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        print_inspection(found, console())
