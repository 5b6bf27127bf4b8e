"""What a report shows, on the terminal and as a page."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from zen_edge.benchmarks.report import check_folder, to_html, write_report
from zen_edge.benchmarks.terminal import print_report
from zen_edge.errors import ZenEdgeError


def row(name: str, batch_size: int, num_beams: int, median: float, ratio: float) -> dict[str, Any]:
    engine, precision = name.split(" ")
    return {
        "engine": engine,
        "precision": precision,
        "batch_size": batch_size,
        "num_beams": num_beams,
        "latency_ms": {"median": median, "p95": 1.5 * median, "p99": 2 * median},
        "tokens_per_second": 100.0,
        "load_s": 0.5,
        "first_call_s": 0.1,
        "peak_memory_mb": 120.0,
        "disk_mb": 7.5,
        "quality": {"lines": 8, "chrf": 65.4, "agreement_chrf": 99.1, "agreement_with": "torch fp32"},
        "name": name,
        "rounds": 3,
        "rounds_ms": [median, 1.2 * median, 2 * median],
        "time_ratio": {"median": ratio, "quartiles": [ratio, ratio]},
    }


@pytest.fixture
def report() -> dict[str, Any]:
    rows = [
        row(name, size, beams, median, ratio)
        for size, beams in ((1, 1), (8, 4))
        for name, median, ratio in (("zen-edge int8", 20.0, 1.0), ("torch fp32", 150.0, 7.5), ("ctranslate2 int8", 10.0, 0.5))
    ]
    failures = [{"engine": "optimum", "precision": "fp32", "error": "<b>pip</b> failed", "batch_size": None, "num_beams": None}]
    return {
        "machine": {"cpu": "A & B", "threads": 2, "cpu_features": ["AVX2"]},
        "versions": {"torch": "2.13.0", "onnxruntime": "1.32.0", "onnxruntime (optimum)": "1.31.0"},
        "cases": rows,
        "failures": failures,
        "setting": {"interleaved": True, "baseline": "zen-edge int8", "lines": 8, "exactly": False},
        "notes": ["Not timed: starting Python."],
    }


def test_the_terminal_shows_losses_like_wins(report: dict[str, Any]) -> None:
    console = Console(width=130, record=True, quiet=False, file=Path("/dev/null").open("w"))  # noqa: SIM115
    print_report(report, console)
    text = console.export_text()
    assert "batch 1, beam 1, 3 rounds" in text and "batch 8, beam 4, 3 rounds" in text
    assert re.search(r"torch fp32 +│ +150 .* 7\.50 ", text)
    assert re.search(r"ctranslate2 int8 +│ +10 .* 0\.50 ", text)
    assert "optimum fp32: <b>pip</b> failed" in text


def test_summaries_show_rouge(report: dict[str, Any]) -> None:
    report["setting"]["task"] = "summarization"
    for each in report["cases"]:
        each["quality"] = {"rouge_1": 41.26, "rouge_2": 20.0, "rouge_l": 38.0}
    page = to_html(report)
    assert "<th>ROUGE-1/2/L</th>" in page and "<td>41.3/20.0/38.0</td><td>-</td>" in page and "<th>chrF</th>" not in page


def test_the_page_needs_nothing_else(report: dict[str, Any]) -> None:
    page = to_html(report)
    tags: list[tuple[str, dict[str, str | None]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append((tag, dict(attrs)))

    Reader().feed(page)
    assert [tag for tag, _ in tags].count("svg") == 4  # two pictures for each case
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in tags}
    links = [value for _, attributes in tags for name, value in attributes.items() if name in ("href", "xlink:href", "src")]
    ids = [attributes["id"] for _, attributes in tags if attributes.get("id")]
    assert all(str(link).startswith("#") and str(link)[1:] in ids for link in links)
    assert len(ids) == len(set(ids))
    assert "&lt;b&gt;pip&lt;/b&gt; failed" in page and "A &amp; B" in page


def test_pictures_follow_the_pages_colours(report: dict[str, Any]) -> None:
    pictures = re.findall("<svg.*?</svg>", to_html(report), re.DOTALL)
    for picture in pictures:
        assert "var(--ours)" in picture and "var(--others)" in picture
        assert not re.search("#[0-9a-f]{6}", picture)  # a colour of its own would not follow


def test_both_files_are_written(report: dict[str, Any], tmp_path: Path) -> None:
    check_folder(tmp_path / "new")
    write_report(report, tmp_path / "new")
    assert json.loads((tmp_path / "new" / "report.json").read_text()) == report
    assert (tmp_path / "new" / "report.html").read_text().startswith("<!doctype html>")


def test_a_folder_that_cannot_be_is_told_early(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "none" / "inner"):
        with pytest.raises(ZenEdgeError, match="cannot write a report into"):
            check_folder(folder)
