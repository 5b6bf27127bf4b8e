import io
import json
import math
import re
from pathlib import Path

import pytest
from rich.console import Console

from zen_edge.errors import ZenEdgeError
from zen_edge.parity import Divergence, OutputDifference, ParityReport, TextScore, TokenComparison
from zen_edge.reports import print_report, to_html, write_report

HOSTILE = '<script>alert("1")</script>\x1b[2J [bold]name[/bold]'


@pytest.fixture
def report() -> ParityReport:
    return ParityReport(
        precision="fp32",
        outputs=(
            OutputDifference("logits", 1e-6, 1e-7, 1.0, True),
            OutputDifference(HOSTILE, math.inf, math.inf, math.nan, False, "shape [1] instead of [2]"),
        ),
        cases={
            "greedy alone": TokenComparison(4, 4, 0, None),
            "beam padded": TokenComparison(4, 2, 1, Divergence(3, 7, 0.25, "Le chat <b>", "Le chien &")),
        },
        text={"chrF": TextScore(60.0, 59.5)},
        bisect=OutputDifference("layer.3/softmax", 1.0, 0.5, 0.9, False, "max_rel 0.5 is over 0.0001"),
        about={"versions": {"onnxruntime": "1.32"}, "cpu": HOSTILE},
    )


def test_json_is_the_report(report: ParityReport, tmp_path: Path) -> None:
    write_report(report, tmp_path / "r.JSON")
    assert json.loads((tmp_path / "r.JSON").read_text()) == json.loads(json.dumps(report.to_json(), allow_nan=False))


def test_html_tells_everything_and_needs_nothing_else(report: ParityReport, tmp_path: Path) -> None:
    write_report(report, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    for word in [
        "Parity does not hold", "logits", "1e-07", "max_rel at most 0.0001", "shape [1] instead of [2]", "input 3, step 7, margin 0.25",
        "Le chat &lt;b&gt;", "Le chien &amp;", "59.50", "layer.3/softmax", "versions: onnxruntime", "1.32", "&lt;script&gt;", "light dark",
    ]:  # fmt: skip
        assert word in page, word
    assert not re.search(r"<script|<link|<img|https?://|url\(|@import|\x1b", page)


def test_html_of_a_bare_report_holds() -> None:
    page = to_html(ParityReport("int8", (OutputDifference("output", 0.0, 0.0, 1.0, True),)))
    assert "Parity holds" in page and "Tokens" not in page and "Text" not in page


@pytest.mark.parametrize("name", ["report", "report.pdf", "report.html.gz", ".json"])
def test_other_endings_are_refused(report: ParityReport, tmp_path: Path, name: str) -> None:
    with pytest.raises(ZenEdgeError, match=r"\.html or \.json"):
        write_report(report, tmp_path / name)


def test_a_place_that_cannot_be_written_is_told(report: ParityReport, tmp_path: Path) -> None:
    with pytest.raises(ZenEdgeError, match="its folder does not exist"):
        write_report(report, tmp_path / "absent" / "r.html")


def test_printed_report_is_safe_and_whole(report: ParityReport) -> None:
    console = Console(file=io.StringIO(), width=200)
    print_report(report, console)
    text = console.file.getvalue()
    for word in ("parity does not hold", "logits", "beam padded", "input 3, step 7, margin 0.25", "59.50", "[bold]name[/bold]", "layer.3/softmax"):
        assert word in text, word
    assert "\x1b" not in text
