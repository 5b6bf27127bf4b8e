"""Writes saved results into README.md and docs/benchmarks.md, between the marks: every table into the page; into README one line for each shape of
work that was compared with other engines, and the tables of precisions. Running it again changes nothing.

python -m zen_edge.benchmarks.readme_table [FOLDER]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zen_edge.benchmarks.run import RESULTS
from zen_edge.benchmarks.terminal import SPEECH_COLUMNS, cases, failed_where, is_speech, number, score_name, scores
from zen_edge.errors import ZenEdgeError
from zen_edge.files import write_whole
from zen_edge.tasks import ENCODER_OUTPUTS

BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"
TOLD = (
    "onnxruntime",
    "torch",
    "transformers",
    "ctranslate2",
    "optimum-onnx (optimum)",
    "openvino (openvino)",
    "optimum-intel (openvino)",
    "faster-whisper",
)


PAGE = Path("docs") / "benchmarks.md"
OURS = "zen-edge int8"
OTHERS = {  # a column of the overview, and the engines whose best time stands in it
    "PyTorch": ("torch fp32",),
    "CTranslate2 or faster-whisper, int8": ("ctranslate2 int8", "faster-whisper int8", "faster-whisper int8-batched"),
    "OpenVINO, its best": ("openvino bf16", "openvino int8", "openvino fp32"),
}


def updated(text: str, blocks: Sequence[str], name: str = "README.md") -> str:
    """A page's text with these blocks between the marks. ZenEdgeError where the marks are missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ZenEdgeError(f"{name} lacks the marks {BEGIN} and {END}: put them where the tables belong.")
    return before + "\n\n".join([BEGIN, *blocks, END]) + after


def pages(results: Sequence[dict[str, Any]]) -> dict[Path, list[str]]:
    """What belongs between the marks of each page, by its path."""
    compared = [result for result in results if not all(row["name"].startswith("zen-edge ") for row in result["cases"])]
    precisions = [tables(result) for result in results if result not in compared]
    return {Path("README.md"): [overview(compared), *precisions], PAGE: [tables(result) for result in compared]}


def overview(results: Sequence[dict[str, Any]]) -> str:
    """One line for each case and shape: milliseconds of zen-edge int8, and how many times that the others take, "-" where they did not take part."""
    lines = [["case", "inputs, beams", OURS, *OTHERS], ["---", "---", *["---:"] * (len(OTHERS) + 1)]]
    for result in results:
        for (batch_size, num_beams), rows in cases(result):
            found = {row["name"]: row for row in rows}
            if OURS not in found:
                continue
            encodes = result["setting"].get("task") in ENCODER_OUTPUTS
            shape = f"{batch_size}" if encodes else f"{batch_size}, {'greedy' if num_beams == 1 else f'{num_beams} beams'}"
            times = [[_ratio(found[OURS], found[name]) for name in names if name in found] for names in OTHERS.values()]
            told = [f"{min(ratios):.2f}x" if ratios else "-" for ratios in times]
            lines.append([f"`{result['case']}`", shape, f"{number(found[OURS]['latency_ms']['median'])} ms", *told])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _ratio(ours: dict[str, Any], other: dict[str, Any]) -> float:
    """Round by round where the result has it so."""
    return float(other["time_ratio"]["median"] if "time_ratio" in other else other["latency_ms"]["median"] / ours["latency_ms"]["median"])


def tables(result: dict[str, Any]) -> str:
    """One table: an engine each row, a case each column, then what it costs."""
    about = result["machine"]
    grouped = cases(result)
    names = list(dict.fromkeys(row["name"] for row in result["cases"]))
    task = result["setting"].get("task")
    embeds = task == "text-embedding"
    heads = [
        "engine",
        *(f"batch {size}{'' if task in ENCODER_OUTPUTS else ', greedy' if beams == 1 else f', beam {beams}'}" for (size, beams), _ in grouped),
    ]
    of_speech = SPEECH_COLUMNS if is_speech(result) else {}
    heads += [*of_speech, "peak memory", "on disk", "load + first call", *([] if embeds else [score_name(result)]), "agreement"]
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for name in names:
        found = [next((row for row in of_case if row["name"] == name), None) for _, of_case in grouped]
        first = next(row for row in found if row)
        costs = [f"{number(first[key])} MB" for key in ("peak_memory_mb", "disk_mb")] + [f"{number(first['load_s'] + first['first_call_s'])} s"]
        costs = [number(first[key]) if key in first else "-" for key in of_speech.values()] + costs
        rows.append([name, *(_cell(row, result["setting"]["baseline"]) for row in found), *costs, *_scores(first, result)[1 if embeds else 0 :]])
    parts = (
        " The encoder's milliseconds of a call and of a window, milliseconds a token of all the rest, seconds for a second of sound, memory,"
        if of_speech
        else "Memory,"
    )
    whose = _whose(result)
    told = f"the least cosine to {whose} vectors" if embeds else f"chrF against {whose} texts"
    versions = ", ".join(f"{name.partition(' ')[0]} {result['versions'][name]}" for name in TOLD if name in result["versions"])
    for failure in result["failures"]:
        if failure["batch_size"] is None:
            rows.append([f"{failed_where(failure)}", f"could not take part: {_plain(failure['error'])}", *[""] * (len(heads) - 2)])
    failed = "".join(f" {failed_where(failure)}: {_plain(failure['error'])}." for failure in result["failures"] if failure["batch_size"] is not None)
    return "\n".join(
        [
            f"**{result['title']}.** {about['cpu']}, threads: {about['threads']}; {versions}. Milliseconds per call, median of interleaved rounds; "
            f"behind it how many times {result['setting']['baseline']}'s time that is, round by round. Tokenization is timed; starting Python is not. "
            f"{parts.strip()} load{'' if embeds else f', {score_name(result)}'} and agreement ({told}) are of the first column.{failed}",
            "",
            *("| " + " | ".join(row) + " |" for row in rows),
        ]
    )


def _whose(result: dict[str, Any]) -> str:
    """PyTorch's, or those of a bundle where it did not take part."""
    name = next((row["quality"]["agreement_with"] for row in result["cases"] if "agreement_with" in row["quality"]), "torch")
    return "PyTorch's" if name.startswith("torch") else f"{name}'s"


def _cell(row: dict[str, Any] | None, baseline: str) -> str:
    if row is None:
        return "failed"
    told = "" if row["name"] == baseline or "time_ratio" not in row else f" ({row['time_ratio']['median']:.2f}x)"
    return f"{number(row['latency_ms']['median'])}{told}"


def _scores(row: dict[str, Any], result: dict[str, Any]) -> list[str]:
    if result["setting"]["exactly"]:
        return ["-", "-"]  # forced lengths say nothing about texts
    return scores(row)


def _plain(error: str) -> str:
    """One cell of a table: no bar ends it, no full stop doubles."""
    return error.replace("|", "/").removesuffix(".")


def saved(folder: Path = RESULTS) -> list[dict[str, Any]]:
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))]


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    try:
        results = saved()
        if not results:
            raise ZenEdgeError("there are no saved results: python -m zen_edge.benchmarks.run CASE makes them.")
        for path, blocks in pages(results).items():
            write_whole(folder / path, updated((folder / path).read_text(encoding="utf-8"), blocks, str(path)))
    except ZenEdgeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
