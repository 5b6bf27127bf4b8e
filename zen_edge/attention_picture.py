"""A map of attention as a picture: rows and columns of tokens, darker where the weight is larger."""

from __future__ import annotations

import io
from collections.abc import Iterable
from math import ceil
from typing import Any

from zen_edge.attention_map import Shown, ascending
from zen_edge.checked import printable
from zen_edge.errors import MissingDependencyError

CELL = (0.15, 0.34)  # inches of a weight, the smallest and the largest
LEAST = 0.01  # the same along an axis of numbers, of which labels are left out
SIDE = 14.0  # inches of all weights, as far as CELL allows
DPI, MOST_PIXELS = 150, 9000
LARGEST_LABEL = 10.0  # points
LONGEST_LABEL = 28  # characters
POINTS = 72  # to the inch
FONT, PLACEHOLDERS = "DejaVu Sans", "Last Resort High-Efficiency"  # come with matplotlib; the latter has a box for every character


def picture(shown: Shown) -> tuple[bytes, str]:
    """The map as PNG, and the characters that no installed font has; these are drawn as their numbers, "\\u4f60". MissingDependencyError without matplotlib."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependencyError('drawing a .png needs matplotlib: pip install "zen-edge[plot]"; an .html page needs nothing.') from None
    fonts, missing = _fonts(set("".join((*shown.rows, *shown.columns))))
    rows, columns = ([_label(token, missing) for token in tokens] for tokens in (shown.rows, shown.columns))
    down_cell, across_cell = _cell(rows, columns), _cell(columns, rows)
    size = min(LARGEST_LABEL, max(CELL[0], min(down_cell, across_cell)) * POINTS * 0.7)
    letter = size * 0.62 / POINTS  # inches, of a middling one
    width, height = across_cell * len(columns), down_cell * len(rows)
    left, top = (max(map(len, tokens)) * letter + 0.3 for tokens in (rows, columns))
    right, bottom, heading = 0.9, 0.25, 0.35
    across, down = max(left + width + right, 4.0), top + heading + height + bottom
    with rc_context({"font.family": fonts}):
        figure = Figure(figsize=(across, down))
        axes = figure.add_axes((left / across, bottom / down, width / across, height / down))
        image = axes.imshow(shown.weights, cmap="Blues", vmin=0.0, aspect="auto", interpolation="nearest")
        axes.xaxis.tick_top()
        for axis, labels, cell, turn in ((axes.xaxis, columns, across_cell, 90), (axes.yaxis, rows, down_cell, 0)):
            some = range(0, len(labels), ceil(CELL[0] / cell))
            axis.set_ticks(list(some), [labels[place] for place in some], rotation=turn, fontsize=size, parse_math=False)
        axes.tick_params(length=0)
        axes.spines[:].set_color("#bbb")
        beside = figure.add_axes(
            ((left + width + 0.15) / across, (bottom + height - min(height, 2.0)) / down, 0.12 / across, min(height, 2.0) / down)
        )
        figure.colorbar(image, cax=beside).ax.tick_params(labelsize=8, length=2)
        figure.text(0.1 / across, 1 - 0.1 / down, shown.title, fontsize=11, va="top", parse_math=False)
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=min(DPI, MOST_PIXELS / max(across, down)), metadata={"Software": None})
    return drawn.getvalue(), "".join(sorted(missing))


def _cell(labels: list[str], others: list[str]) -> float:
    """Inches of a weight along the axis of `labels`: as wide as the other way, but smaller where there are many numbers."""
    wanted = SIDE / max(len(labels), 0 if ascending(others) else len(others))
    return min(CELL[1], max(LEAST if ascending(labels) else CELL[0], wanted))


def _fonts(characters: set[str]) -> tuple[list[str], set[str]]:
    """Families that together have the characters, those of matplotlib first, and the characters that none of the installed has."""
    from matplotlib import font_manager

    def has(path: str, wanted: Iterable[str]) -> set[str]:
        font: Any = font_manager.get_font(path)
        return {character for character in wanted if font.get_char_index(ord(character))}

    missing = {character for character in characters if character.isprintable()}
    missing -= has(font_manager.findfont(FONT), missing)
    chosen = [FONT]
    for entry in sorted(
        font_manager.fontManager.ttflist, key=lambda entry: (entry.style != "normal", str(entry.weight) not in ("400", "normal"), entry.name)
    ):
        if not missing:
            break
        if entry.name != PLACEHOLDERS and entry.name not in chosen and (found := has(entry.fname, missing)):
            chosen.append(entry.name)
            missing -= found
    return chosen, missing


def _label(token: str, missing: set[str]) -> str:
    known = printable("".join(ascii(character)[1:-1] if character in missing else character for character in token))
    return known if len(known) <= LONGEST_LABEL else f"{known[: LONGEST_LABEL - 1]}…"
