"""The pictures of a report, as SVG that follows the page's colours."""

from __future__ import annotations

import io
import re
from typing import Any

from zen_edge.benchmarks.terminal import cases, number
from zen_edge.errors import MissingDependencyError

# Drawn in these, and replaced by the page's own colours: matplotlib knows no CSS.
INK, FAINT, OURS, OTHERS, LIGHT = "#010101", "#020202", "#030303", "#040404", "#050505"
COLOURS = {INK: "--ink", FAINT: "--line", OURS: "--ours", OTHERS: "--others", LIGHT: "--light"}
BAR = 0.34  # inches a bar takes
WIDTH = 9.0


def latency_plot(rows: list[dict[str, Any]], title: str) -> str:
    """Median of each engine as a bar, with every round as a dot and the 95th percentile as a mark."""
    figure, axes = _figure(len(rows), 1, title)
    for place, row in enumerate(rows):
        axes[0].barh(place, row["latency_ms"]["median"], color=_colour(row), height=0.62)
        axes[0].plot(row["rounds_ms"], [place] * len(row["rounds_ms"]), ".", color=INK, alpha=0.35, markersize=3)
        axes[0].plot([row["latency_ms"]["p95"]], [place], "|", color=INK, markersize=13, markeredgewidth=1.6)
    furthest = max(max(row["rounds_ms"]) for row in rows)
    for place, row in enumerate(rows):
        axes[0].text(max(row["rounds_ms"]) + furthest * 0.015, place, f"{number(row['latency_ms']['median'])} ms", va="center", color=INK, fontsize=9)
    axes[0].set_xlim(0, furthest * 1.12)
    axes[0].set_xlabel("milliseconds per call: median (bar), rounds (dots), 95th percentile (mark)", color=INK, fontsize=9)
    return _finished(figure, axes, rows, title)


def cost_plot(rows: list[dict[str, Any]], title: str) -> str:
    """Memory, size on disk and time to the first answer, side by side."""
    figure, axes = _figure(len(rows), 3, title)
    for place, row in enumerate(rows):
        for axis, key in zip(axes, ("peak_memory_mb", "disk_mb"), strict=False):
            axis.barh(place, row[key], color=_colour(row), height=0.62)
        axes[2].barh(place, row["load_s"], color=_colour(row), height=0.62)
        axes[2].barh(place, row["first_call_s"], left=row["load_s"], color=LIGHT, height=0.62)
    widths = (
        [row["peak_memory_mb"] for row in rows],
        [row["disk_mb"] for row in rows],
        [row["load_s"] + row["first_call_s"] for row in rows],
    )
    labels = ("peak memory, MB", "on disk, MB", "load, then first call (light), s")
    for axis, values, label in zip(axes, widths, labels, strict=True):
        for place, value in enumerate(values):
            axis.text(value + max(values) * 0.03, place, number(value), va="center", color=INK, fontsize=9)
        axis.set_xlim(0, max(values) * 1.25)
        axis.set_xlabel(label, color=INK, fontsize=9)
    return _finished(figure, axes, rows, title)


def plots(report: dict[str, Any]) -> list[tuple[str, str]]:
    """(heading of the case, both pictures) for each case."""
    found = []
    for number_, ((batch_size, num_beams), rows) in enumerate(cases(report)):
        pictures = latency_plot(rows, f"latency-{number_}") + cost_plot(rows, f"cost-{number_}")
        found.append((f"Batch {batch_size}, {'greedy' if num_beams == 1 else f'beam {num_beams}'}", pictures))
    return found


def _colour(row: dict[str, Any]) -> str:
    return OURS if row["engine"] == "zen-edge" else OTHERS


def _figure(bars: int, columns: int, salt: str) -> tuple[Any, list[Any]]:
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependencyError('drawing a report needs matplotlib: pip install "zen-edge[bench]".') from None
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure = Figure(figsize=(WIDTH, 0.75 + BAR * bars), layout="constrained")
        axes = figure.subplots(1, columns, sharey=True, squeeze=False)[0]
    return figure, list(axes)


def _finished(figure: Any, axes: list[Any], rows: list[dict[str, Any]], salt: str) -> str:
    from matplotlib import rc_context

    for axis in axes:
        axis.set_yticks(range(len(rows)), [row["name"] for row in rows], color=INK, fontsize=9)
        axis.tick_params(axis="x", colors=INK, labelsize=8, length=0)
        axis.tick_params(axis="y", length=0, pad=6)
        axis.locator_params(axis="x", nbins=4 if len(axes) > 1 else 8)
        axis.grid(axis="x", color=FAINT, linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[:].set_visible(False)
        axis.patch.set_visible(False)
    axes[0].invert_yaxis()
    figure.patch.set_visible(False)
    text = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": salt, "font.family": "sans-serif"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return _themed(text.getvalue(), salt)


def _themed(svg: str, name: str) -> str:
    """The <svg> element with the page's colours and fonts, and ids that no other picture of the page has."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(?<= id=")|(?<=url\(#)|(?<=href="#)', f"{name}-", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1), count=1)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: \1 system-ui, sans-serif", svg)
    for drawn, variable in COLOURS.items():
        svg = svg.replace(drawn, f"var({variable})")
    return svg
