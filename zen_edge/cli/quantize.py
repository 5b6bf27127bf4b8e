"""zen-edge quantize"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zen_edge.cli import app
from zen_edge.cli.progress import steps


@app.command()
def quantize(
    bundle: Annotated[Path, typer.Argument(help="A folder that `zen-edge export` wrote, in fp32.")],
    out: Annotated[Path, typer.Argument(help="The new bundle's folder; it must not exist yet.")],
    precision: Annotated[str, typer.Option(help="fp16, int8, int8-blocks or int4.")] = "int8",
    verify: Annotated[bool, typer.Option("--verify/--no-verify", help="Compare the new bundle with the old one before it is kept.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there.")] = False,
) -> None:
    """Make a smaller bundle of one in fp32. Needs no PyTorch."""
    import zen_edge

    with steps() as tell:
        made = zen_edge.quantize(bundle, out, precision=precision, verify=verify, force=force, tell=tell)
    size = sum(file.size for file in made.manifest.files.values()) / 1e6
    typer.echo(f"{out}: {made.manifest.task}, {made.manifest.precision}, {size:.1f} MB", err=True)
