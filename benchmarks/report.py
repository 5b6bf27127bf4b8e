"""A report as files: report.json, and one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from zen_edge.benchmarks.plots import plots
from zen_edge.benchmarks.terminal import cases, cells, columns, failed_where, ratio
from zen_edge.checked import dump, printable, quoted
from zen_edge.errors import ZenEdgeError
from zen_edge.files import reason, write_whole

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --line: #d1d9e0; --page: #fff; --card: #f6f8fa;
  --ours: #0969da; --others: #9aa4af; --light: #c8d1da; --good: #1a7f37; --bad: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --line: #30363d; --page: #0d1117; --card: #161b22;
  --ours: #4493f8; --others: #6e7681; --light: #3d444d; --good: #3fb950; --bad: #ff7b72; } }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 68rem; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.9rem; margin: 0 0 .25rem; } h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; } p.about { color: var(--soft); margin: 0 0 1.5rem; }
figure { margin: 0 0 1rem; padding: 1rem; background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
svg { display: block; width: 100%; height: auto; } svg + svg { margin-top: .75rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { border-bottom: 1px solid var(--line); padding: .4rem .6rem; text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } th:first-child, td:first-child { text-align: left; }
table.flat td { text-align: left; white-space: normal; overflow-wrap: anywhere; } table.flat td:first-child { color: var(--soft); width: 16rem; }
tr.ours td:first-child { color: var(--ours); font-weight: 600; } .good { color: var(--good); } .bad { color: var(--bad); }
ul { padding-left: 1.2rem; } li { margin: .3rem 0; }
"""


def check_folder(folder: Path) -> None:
    """ZenEdgeError if a report could not be written there; asked before the long work begins."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ZenEdgeError(
            f"cannot write a report into {quoted(str(folder))}: {reason(error)}; give --report a folder, or the name of a new one."
        ) from None


def write_report(report: dict[str, Any], folder: Path) -> None:
    try:
        write_whole(folder / "report.json", dump(report) + "\n")
        write_whole(folder / "report.html", to_html(report))
    except OSError as error:
        raise ZenEdgeError(f"cannot write the report into {quoted(str(folder))}: {reason(error)}; choose another place.") from None


def to_html(report: dict[str, Any]) -> str:
    about, setting = report["machine"], report["setting"]
    told = f"{about['cpu']}, {about['threads']} threads, {'interleaved' if setting['interleaved'] else 'alone'}, {setting['lines']} lines"
    failures = "".join(f"<li>{_text(failed_where(failure))}: {_text(failure['error'])}</li>" for failure in report["failures"])
    sections = [
        f'<h1>zen-edge bench</h1><p class="about">{_text(told)}</p>',
        f'<h2>Could not take part</h2><ul class="bad">{failures}</ul>' if failures else "",
        *(
            f"<h2>{_text(heading)}</h2>\n<figure>{pictures}</figure>\n{_case_table(rows, columns(report))}"
            for (heading, pictures), (_, rows) in zip(plots(report), cases(report), strict=True)
        ),
        "<h2>How it was measured</h2><ul>" + "".join(f"<li>{_text(note)}</li>" for note in report["notes"]) + "</ul>",
        "<h2>Setting</h2>" + _flat(setting.items()),
        "<h2>Machine</h2>" + _flat(about.items()),
        "<h2>Versions</h2>" + _flat(sorted(report["versions"].items())),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>zen-edge bench</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(filter(None, sections)) + "\n</body></html>\n"


def _case_table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    head = "".join(f"<th>{_text(column)}</th>" for column in columns)
    return f'<div class="wide"><table>\n<tr>{head}</tr>\n' + "\n".join(map(_case_row, rows)) + "\n</table></div>"


def _case_row(row: dict[str, Any]) -> str:
    median = row.get("time_ratio", {}).get("median", 1)
    verdict = "good" if median > 1 else "bad" if median < 1 else ""
    plain = "".join(f"<td>{_text(cell)}</td>" for cell in cells(row))
    return f'<tr class="{"ours" if row["engine"] == "zen-edge" else ""}">{plain}<td class="{verdict}">{_text(ratio(row))}</td></tr>'


def _flat(pairs: Iterable[tuple[str, Any]]) -> str:
    rows = "".join(f"<tr><td>{_text(key.replace('_', ' '))}</td><td>{_text(_shown(value))}</td></tr>" for key, value in pairs)
    return f'<table class="flat">{rows}</table>'


def _shown(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return "-" if value is None else "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _text(value: object) -> str:
    return escape(printable(str(value)))
