"""zen-edge doctor"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from zen_edge.cli import app
from zen_edge.errors import OptionError


@app.command()
def doctor(
    bundle: Annotated[Path | None, typer.Argument(help="A bundle to load as well, to see which provider runs its nodes.")] = None,
    device: Annotated[str | None, typer.Option(help="Where to load it: cpu, cuda or auto; otherwise the one it was exported for.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Tell what this machine has to run bundles with, and what to do about what it lacks. Exit status 3 if bundles cannot run."""
    from zen_edge.runtimes.doctor import examine, placed

    if device is not None and bundle is None:
        raise OptionError("--device says where a bundle is loaded: name a bundle, or leave it out.")
    found = examine() + (() if bundle is None else placed(bundle, device))
    healthy = all(finding.status != "problem" for finding in found)
    if as_json:
        typer.echo(json.dumps({"healthy": healthy, "findings": [asdict(finding) for finding in found]}, ensure_ascii=False))
    else:
        from rich.console import Console
        from rich.table import Column, Table
        from rich.text import Text

        table = Table("", *(Column(name, overflow="fold") for name in ("what", "found", "what to do")))
        marks = {"ok": ("ok", "green"), "note": ("note", "yellow"), "problem": ("problem", "bold red")}
        for finding in found:
            table.add_row(Text(*marks[finding.status]), finding.name, Text(finding.value), Text(finding.advice))
        Console().print(table)
    if not healthy:
        raise typer.Exit(3)
