"""A parity report on the terminal, as JSON, or as one HTML page that needs nothing else."""

import math
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zen_edge.checked import dump, printable, quoted
from zen_edge.errors import ZenEdgeError
from zen_edge.files import reason, write_whole
from zen_edge.parity import OutputDifference, ParityReport

if TYPE_CHECKING:
    from rich.console import Console

Rows = Iterable[tuple[object, ...]]

STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --bad: #ff7b72; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; } th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: left; }
td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; } .good { color: var(--good); } .bad { color: var(--bad); }
"""


def check_report_path(path: Path) -> None:
    """ZenEdgeError if `write_report` could not write there for its name or folder; asked before the long work begins."""
    if path.suffix.lower() not in (".json", ".html"):
        raise ZenEdgeError(f"a report is written as .html or .json, not {quoted(path.name)}: give --report a name with one of these endings")
    if not path.parent.is_dir():
        raise ZenEdgeError(f"cannot write the report {quoted(str(path))}: its folder does not exist; make it first")


def write_report(report: ParityReport, path: Path) -> None:
    """Writes `path` whole, as JSON or HTML by its suffix. ZenEdgeError for another suffix, or where it cannot be written."""
    check_report_path(path)
    text = to_html(report) if path.suffix.lower() == ".html" else dump(report.to_json()) + "\n"
    try:
        write_whole(path, text)
    except OSError as error:
        raise ZenEdgeError(f"cannot write the report {quoted(str(path))}: {reason(error)}; choose another place") from None


def to_html(report: ParityReport) -> str:
    verdict, colour = ("Parity holds", "good") if report.passed else ("Parity does not hold", "bad")
    bounds = f"max_rel at most {report.tolerance.max_rel:g}, cosine at least {report.tolerance.cosine:g}"
    failures = "".join(f"<li>{_text(failure)}</li>" for failure in report.failures)
    parted = [
        (name, f"input {first.input}, step {first.step}", first.reference_text, first.bundle_text)
        for name, case in report.cases.items()
        if (first := case.first_divergence) and (first.reference_text or first.bundle_text)
    ]
    sections = [
        f'<h1 class="{colour}">{verdict}</h1><p>Precision {_text(report.precision)}.</p>' + (f"<ul>{failures}</ul>" if failures else ""),
        _section("Outputs", bounds, OUTPUT_COLUMNS, map(_output_row, report.outputs)),
        _section("Tokens", _token_note(report), TOKEN_COLUMNS, _token_rows(report)),
        _section("First divergences", "", ("case", "where", "reference", "bundle"), parted),
        _section("Text", _text_note(report), TEXT_COLUMNS, _text_rows(report)),
        _section("First tensor out of tolerance", "", OUTPUT_COLUMNS, [_output_row(report.bisect)] if report.bisect else []),
        _section("Versions and machine", "", ("", ""), _flat(report.about)),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{verdict}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(filter(None, sections)) + "\n</body></html>\n"


def print_report(report: ParityReport, console: "Console") -> None:
    from rich.table import Table
    from rich.text import Text

    def show(title: str, columns: tuple[str, ...], rows: Rows) -> None:
        table = Table(*columns, title=title, title_justify="left")
        for row in rows:
            table.add_row(*(Text(printable(str(cell))) for cell in row))
        if table.row_count:
            console.print(table)

    limits = report.tolerance
    show(f"outputs (max_rel <= {limits.max_rel:g}, cosine >= {limits.cosine:g})", OUTPUT_COLUMNS, map(_output_row, report.outputs))
    show("tokens", TOKEN_COLUMNS, _token_rows(report))
    show("text", TEXT_COLUMNS, _text_rows(report))
    show("first tensor out of tolerance", OUTPUT_COLUMNS, [_output_row(report.bisect)] if report.bisect else [])
    console.print(Text("parity holds", "green") if report.passed else Text("parity does not hold", "red"))
    for failure in report.failures:
        console.print(Text("  " + printable(failure)))
    if half := report.about.get("half"):
        console.print(Text("  " + printable(half["told"])))


OUTPUT_COLUMNS = ("output", "max_abs", "max_rel", "cosine", "verdict")
TOKEN_COLUMNS = ("case", "sequences", "identical", "ties", "first divergence")
TEXT_COLUMNS = ("metric", "reference", "bundle")


def _output_row(output: OutputDifference) -> tuple[object, ...]:
    return (output.name, _number(output.max_abs), _number(output.max_rel), _number(output.cosine, ".6f"), "passed" if output.passed else output.note)


def _token_rows(report: ParityReport) -> Rows:
    for name, case in report.cases.items():
        first = case.first_divergence
        where = f"input {first.input}, step {first.step}, margin {_number(first.margin)}" if first else "none"
        yield (name, case.total, case.identical, case.ties, where)


def _token_note(report: ParityReport) -> str:
    if report.precision == "fp32":
        return "No sequence may part where the two tokens are more than 0.001 apart in log-probability; nearer ones are ties."
    return "Told, not judged: a quantized model may choose other words."


def _text_note(report: ParityReport) -> str:
    limit = report.tolerance.chrf
    return f"chrF may lose at most {limit:g}" if limit is not None else ""


def _text_rows(report: ParityReport) -> Rows:
    return ((name, _number(score.reference, ".2f"), _number(score.bundle, ".2f")) for name, score in report.text.items())


def _flat(about: Mapping[str, Any]) -> Rows:
    for key, value in sorted(about.items()):
        if isinstance(value, Mapping):
            yield from ((f"{key}: {inner}", item) for inner, item in _flat(value))
        else:
            yield (key, value)


def _number(number: float, form: str = ".3g") -> str:
    return format(number, form) if math.isfinite(number) else "-"


def _text(value: object) -> str:
    return escape(printable(str(value)))


def _section(title: str, note: str, columns: tuple[str, ...], rows: Rows) -> str:
    cells = "\n".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    if not cells:
        return ""
    head = "".join(f"<th>{_text(column)}</th>" for column in columns)
    return f"<h2>{_text(title)}</h2>" + (f"<p>{_text(note)}</p>" if note else "") + f"\n<table>\n<tr>{head}</tr>\n{cells}\n</table>"
