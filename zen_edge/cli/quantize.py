"""zen-edge quantize"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zen_edge.cli import app
from zen_edge.cli.console import console
from zen_edge.cli.progress import bar, steps


@app.command()
def quantize(
    bundle: Annotated[Path, typer.Argument(help="A folder that `zen-edge export` wrote, in fp32.")],
    out: Annotated[Path, typer.Argument(help="The new bundle's folder; it must not exist yet.")],
    precision: Annotated[str | None, typer.Option(help="fp16, int8 (if nothing is said), int8-blocks or int4.")] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="What each part becomes: a .json file with {part: precision}, or a bundle that is made so.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC=X",
            help="Find the smallest mixture within it: chrf, bleu, rouge, wer, f1 or exact-match to lose at most; tokens or cosine to keep.",
        ),
    ] = None,
    inputs: Annotated[
        Path | None, typer.Option(help="With --budget: .jsonl with source and target, or question, context and answers; half of it is held out.")
    ] = None,
    fastest: Annotated[bool, typer.Option("--fastest", help="With --budget: the fastest on this machine in place of the smallest.")] = False,
    plot: Annotated[Path | None, typer.Option(help="With --budget: draw quality against size and time into FILE.png, .svg or .pdf.")] = None,
    verify: Annotated[bool, typer.Option("--verify/--no-verify", help="Compare the new bundle with the old one before it is kept.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there.")] = False,
) -> None:
    """Make a smaller bundle of one in fp32. Needs no PyTorch. Exit status 3 if nothing is within the budget."""
    import zen_edge
    from zen_edge.recipe_file import read_recipe

    if budget is None:
        if inputs is not None or fastest or plot is not None:
            raise typer.BadParameter("--inputs, --fastest and --plot go with --budget.")
        if recipe is not None and precision is not None:
            raise typer.BadParameter("--recipe says the precisions itself.")
        parts = None if recipe is None else read_recipe(recipe).parts
        with steps() as tell:
            made = zen_edge.quantize(bundle, out, precision=precision or "int8", recipe=parts, verify=verify, force=force, tell=tell)
    else:
        from zen_edge.budget_report import check_picture, draw, print_found
        from zen_edge.quantizing import within_budget

        if precision is not None or recipe is not None or inputs is None:
            raise typer.BadParameter("--budget finds the precisions itself, and needs --inputs.")
        if plot is not None:
            check_picture(plot)
        with bar() as advance:
            found = within_budget(bundle, out, budget=budget, inputs=inputs, fastest=fastest, force=force, advance=advance)
        made = found.bundle
        print_found(found, console())
        if plot is not None:
            draw(found, plot)
    size = sum(file.size for file in made.manifest.files.values()) / 1e6
    typer.echo(f"{out}: {made.manifest.task}, {made.manifest.precision}, {size:.1f} MB", err=True)
