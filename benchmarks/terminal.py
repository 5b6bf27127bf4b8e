"""A report on the terminal: one table for each case, wins and losses alike."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from zen_edge.checked import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def print_report(report: dict[str, Any], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    about = report["machine"]
    console.print(f"{about['cpu']}, {about['threads']} threads", highlight=False, markup=False)
    for (batch_size, num_beams), rows in cases(report):
        table = Table(title=f"batch {batch_size}, beam {num_beams}, {rows[0]['rounds']} rounds", title_justify="left")
        for column in columns(report):
            table.add_column(column, justify="left" if column == "engine" else "right", no_wrap=column == "engine")
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in cells(row)), _coloured(row))
        console.print(table)
    for failure in report["failures"]:
        console.print(Text(f"{failed_where(failure)}: {failure['error']}", "red"))


SPEED_COLUMNS = ("engine", "median ms", "p95", "p99", "tokens/s", "load s", "first call s", "peak MB", "disk MB")
SPEECH_COLUMNS = {
    "encoder ms": "encoder_ms",
    "of a window": "encoder_ms_per_window",
    "ms/token": "decoder_ms_per_token",
    "x real time": "real_time_factor",
}
SCORES = {"EM/F1": ("em", "f1"), "chrF/BLEU": ("chrf", "bleu"), "WER %": ("wer",), "ROUGE-1/2/L": ("rouge_1", "rouge_2", "rouge_l")}


def columns(report: dict[str, Any]) -> tuple[str, ...]:
    return (*SPEED_COLUMNS, *(SPEECH_COLUMNS if is_speech(report) else ()), score_name(report), "agreement", "time ratio")


def score_name(report: dict[str, Any]) -> str:
    """What texts are held against their targets by: a key of SCORES."""
    task = report["setting"].get("task")
    if task in ("question-answering", "text-embedding"):
        return "EM/F1" if task == "question-answering" else "-"
    if is_speech(report) or report["setting"].get("task") == "summarization":
        return "WER %" if is_speech(report) else "ROUGE-1/2/L"
    return "chrF/BLEU" if any("bleu" in row["quality"] for row in report["cases"]) else "chrF"


def is_speech(report: dict[str, Any]) -> bool:
    return bool(report["setting"].get("task") == "speech-recognition")


def cases(report: dict[str, Any]) -> list[tuple[tuple[int, int], list[dict[str, Any]]]]:
    """Rows by (batch size, beams), in the order in which they were measured."""
    return [(key, list(rows)) for key, rows in groupby(report["cases"], lambda row: (row["batch_size"], row["num_beams"]))]


def cells(row: dict[str, Any]) -> list[str]:
    """All columns but the last."""
    numbers = (*row["latency_ms"].values(), *(row[key] for key in ("tokens_per_second", "load_s", "first_call_s", "peak_memory_mb", "disk_mb")))
    of_speech = [number(row[key]) if key in row else "-" for key in SPEECH_COLUMNS.values()] if "real_time_factor" in row else []
    return [row["name"], *(number(value) for value in numbers), *of_speech, *scores(row)]


def scores(row: dict[str, Any]) -> list[str]:
    """Against the targets, and against the texts of the reference engine."""
    quality = row["quality"]
    found = next((keys for keys in SCORES.values() if keys[0] in quality), ())
    against_targets = "/".join(f"{quality[key]:.1f}" for key in found if key in quality) or "-"
    if "cosine_min" in quality:
        return [against_targets, f"{quality['cosine_min']:.4f}"]
    return [against_targets, f"{quality['agreement_chrf']:.1f}" if "agreement_chrf" in quality else "-"]


def ratio(row: dict[str, Any]) -> str:
    return f"{row['time_ratio']['median']:.2f}" if "time_ratio" in row else "-"


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def failed_where(failure: dict[str, Any]) -> str:
    case = f", batch {failure['batch_size']}, beam {failure['num_beams']}" if failure["batch_size"] else ""
    return f"{failure['engine']} {failure['precision']}{case}"


def _coloured(row: dict[str, Any]) -> Text:
    from rich.text import Text

    median = row.get("time_ratio", {}).get("median", 1)
    return Text(ratio(row), "green" if median > 1 else "red" if median < 1 else "")
