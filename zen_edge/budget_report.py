"""What a search within a budget found, as a table and as a picture."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from zen_edge.errors import MissingDependencyError, OptionError, ZenEdgeError
from zen_edge.files import reason
from zen_edge.quantizing import Found, Point

if TYPE_CHECKING:
    from rich.console import Console

PICTURES = (".png", ".svg", ".pdf")


def print_found(found: Found, console: Console) -> None:
    """Each part alone in each precision, then the recipes that were tried; the one that was chosen is marked."""
    from rich.table import Table

    table = Table("", title=f"against fp32: {found.fp32.megabytes:.1f} MB, {found.fp32.milliseconds:.0f} ms for a few lines", title_justify="left")
    for heading in ("1 - cosine of the outputs", "MB less", "ms less", f"loss of {found.budget.metric}", "held out"):
        table.add_column(heading, justify="right")
    for point in (*found.alone, *found.tried):
        style = "bold green" if point is found.chosen else None
        table.add_row(*_cells(point, found.fp32), style=style, end_section=point is found.alone[-1])
    console.print(table)
    doubt = "" if found.doubt is None else f" ± {found.doubt:.2g}"
    console.print(
        f"chosen: {found.chosen.name}, {found.chosen.megabytes:.1f} MB, loses {found.held_out:.3g}{doubt} of {found.budget.most:.3g} on the lines held out"
    )
    if found.to_be_sure is not None:
        more = (
            f"about {found.to_be_sure:,.0f} lines like these {found.lines:,} would tell"
            if isfinite(found.to_be_sure)
            else "give more, or a wider budget"
        )
        console.print(f"too few lines to be sure: with its standard error the loss is beyond the budget; {more}", highlight=False, soft_wrap=True)
    for part, precision in found.chosen.recipe.of_groups(found.groups).items():
        console.print(f"    {part}: {precision}", highlight=False)


def _cells(point: Point, fp32: Point) -> tuple[str, ...]:
    saved = (fp32.megabytes - point.megabytes, fp32.milliseconds - point.milliseconds)
    return (
        point.name,
        f"{point.error:.2g}",
        f"{saved[0]:.1f}",
        f"{saved[1]:.1f} ± {point.spread:.1f}",
        *("" if loss is None else f"{loss:.3g}" for loss in (point.loss, point.held_out)),
    )


def check_picture(path: Path) -> None:
    """OptionError or MissingDependencyError where `draw` could not: asked before long work begins."""
    from importlib.util import find_spec

    if path.suffix.lower() not in PICTURES or not path.parent.is_dir():
        raise OptionError(f"--plot takes a file in a folder that is there, ending in {', '.join(PICTURES)}, not {str(path)[:80]!a}.")
    if find_spec("matplotlib") is None:
        raise MissingDependencyError('drawing needs matplotlib: pip install "zen-edge[bench]".')


def draw(found: Found, path: Path) -> None:
    """Loss against size and against time, of every recipe that was tried on whole lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    points = [found.fp32, *found.tried]
    for axes, label, values in (
        (figure.add_subplot(1, 2, 1), "MB", [point.megabytes for point in points]),
        (figure.add_subplot(1, 2, 2), "ms of processor time for a few lines", [point.milliseconds for point in points]),
    ):
        losses = [point.loss or 0.0 for point in points]
        axes.scatter(values, losses, color="0.5")
        held_out = [(value, point.held_out) for value, point in zip(values, points, strict=True) if point.held_out is not None]
        axes.scatter(*zip(*held_out, strict=True), facecolors="none", edgecolors="0.3", label="on the lines held out")
        place = points.index(found.chosen)
        axes.scatter(values[place], losses[place], color="tab:green", zorder=3, label=f"chosen: {found.chosen.name}")
        axes.axhline(found.budget.most, color="tab:red", linewidth=0.8, label="budget")
        axes.annotate("fp32", (values[0], losses[0]), textcoords="offset points", xytext=(4, 4))
        axes.set_xlabel(label)
        axes.set_ylabel(f"loss of {found.budget.metric}")
        axes.legend()
    try:
        figure.savefig(path)
    except OSError as error:
        raise ZenEdgeError(f"cannot write the picture {str(path)!a}: {reason(error)}; choose another place.") from None
