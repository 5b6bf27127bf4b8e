"""zen-edge export"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zen_edge.cli import app
from zen_edge.cli.progress import steps
from zen_edge.tasks import SEQUENCE_TO_SEQUENCE, TASKS


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A checkpoint folder (Hugging Face layout), a hub id, or file.py:factory of a module of your own.")],
    out: Annotated[Path, typer.Argument(help="The bundle's folder; it must not exist yet.")],
    task: Annotated[str | None, typer.Option(help=f"What the model is for, where the checkpoint does not tell: {', '.join(TASKS)}.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, fp16, int8, int8-blocks or int4; if nothing is said fp16 for CUDA, else fp32.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    revision: Annotated[str | None, typer.Option(help="A branch, tag or commit of the hub id.")] = None,
    with_attention: Annotated[bool, typer.Option("--with-attention", help="Keep the weights of attention, to be seen with `attend`.")] = False,
    verify: Annotated[bool, typer.Option("--verify/--no-verify", help="Compare the bundle with PyTorch before it is kept.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there.")] = False,
) -> None:
    """Export a PyTorch checkpoint to ONNX with fused attention, quantize it, and check that it says the same."""
    import zen_edge

    with steps() as tell:
        bundle = zen_edge.export(
            model,
            out,
            task=task,
            precision=precision,
            device=device,
            revision=revision,
            with_attention=with_attention,
            verify=verify,
            force=force,
            tell=tell,
        )
    size = sum(file.size for file in bundle.manifest.files.values()) / 1e6
    graphs = bundle.manifest.graphs
    fused, unfused = (sum(counts) for counts in zip(*((graph.fused_attention, graph.unfused_attention) for graph in graphs), strict=True))
    left = f", {unfused} left as they are (zen-edge inspect {out} says why)" if unfused else ""
    typer.echo(f"{out}: {bundle.manifest.task}, {bundle.manifest.precision}, {size:.1f} MB, {fused} attention layers fused{left}", err=True)
    if not fused and not unfused and bundle.manifest.task != SEQUENCE_TO_SEQUENCE:  # whose attention may be additive, which has no operator
        typer.echo("no attention was found in the module; it was exported as it is.", err=True)
