"""README's tables are those of the saved results."""

from pathlib import Path
from typing import Any

import pytest

from zen_edge.benchmarks.readme_table import BEGIN, END, PAGE, overview, pages, saved, tables, updated
from zen_edge.errors import ZenEdgeError

ROOT = Path(__file__).parents[2]


def row(name: str, batch_size: int, median: float, ratio: float) -> dict[str, Any]:
    return {
        "name": name,
        "batch_size": batch_size,
        "num_beams": 1,
        "latency_ms": {"median": median},
        "peak_memory_mb": 90.0,
        "disk_mb": 7.58,
        "load_s": 0.5,
        "first_call_s": 0.125,
        "quality": {"chrf": 65.4, "agreement_chrf": 99.5},
        "time_ratio": {"median": ratio},
    }


@pytest.fixture
def result() -> dict[str, Any]:
    return {
        "title": "A case",
        "machine": {"cpu": "A CPU", "threads": 2},
        "versions": {"torch": "2.13.0", "optimum-onnx (optimum)": "0.1.0"},
        "setting": {"baseline": "zen-edge int8", "exactly": False},
        "cases": [row("zen-edge int8", 1, 20, 1), row("torch fp32", 1, 150, 7.5), row("zen-edge int8", 8, 60, 1)],
        "failures": [
            {"engine": "torch", "precision": "fp32", "batch_size": 8, "num_beams": 1, "error": "died"},
            {"engine": "optimum", "precision": "fp32", "batch_size": None, "num_beams": None, "error": "ValueError: no a|b exporter."},
        ],
    }


def test_the_table_has_speed_memory_and_quality(result: dict[str, Any]) -> None:
    text = updated(f"before\n{BEGIN}\nold\n{END}\nafter\n", [tables(result)])
    assert "| zen-edge int8 | 20 | 60 | 90 MB | 7.58 MB | 0.625 s | 65.4 | 99.5 |" in text
    assert "| torch fp32 | 150 (7.50x) | failed | 90 MB" in text
    assert "torch fp32, batch 8, beam 1: died." in text
    assert "| optimum fp32 | could not take part: ValueError: no a/b exporter |  |  |  |  |  |" in text
    assert "| chrF | agreement |" in text and "ROUGE" not in text
    assert "torch 2.13.0, optimum-onnx 0.1.0" in text and "A CPU, threads: 2" in text
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text


def test_summaries_are_scored_by_rouge(result: dict[str, Any]) -> None:
    result["setting"]["task"] = "summarization"
    for each in result["cases"]:
        each["quality"] = {"rouge_1": 41.26, "rouge_2": 20.0, "rouge_l": 38.0, "agreement_chrf": 99.5}
    text = updated(f"{BEGIN}{END}", [tables(result)])
    assert "| ROUGE-1/2/L | agreement |" in text and "| 41.3/20.0/38.0 | 99.5 |" in text and "chrF |" not in text


def test_bundles_alone_are_held_against_one_of_them(result: dict[str, Any]) -> None:
    for each in result["cases"]:
        each["quality"] = {"chrf": 65.4, "bleu": 40.12, "agreement_chrf": 99.5, "agreement_with": "zen-edge fp32"}
    text = updated(f"{BEGIN}{END}", [tables(result)])
    assert "| chrF/BLEU | agreement |" in text and "| 65.4/40.1 | 99.5 |" in text
    assert "agreement (chrF against zen-edge fp32's texts)" in text and "PyTorch" not in text


def test_writing_again_changes_nothing(result: dict[str, Any]) -> None:
    once = updated(f"{BEGIN}{END}", [tables(result)] * 2)
    assert updated(once, [tables(result)] * 2) == once


def test_missing_marks_are_told() -> None:
    with pytest.raises(ZenEdgeError, match="lacks the marks"):
        updated(f"{END} {BEGIN}", [])


def test_pages_are_up_to_date() -> None:
    for path, blocks in pages(saved()).items():
        text = (ROOT / path).read_text(encoding="utf-8")
        assert updated(text, blocks) == text, f"{path}; run: python -m zen_edge.benchmarks.readme_table"


def test_the_overview_has_a_line_for_each_shape_and_the_best_of_an_engine(result: dict[str, Any]) -> None:
    result["case"] = "a-case"
    result["cases"][1:1] = [row("openvino bf16", 1, 50, 2.5), row("openvino int8", 1, 15, 0.75)]
    lines = overview([result]).splitlines()
    assert lines[2:] == ["| `a-case` | 1, greedy | 20 ms | 7.50x | - | 0.75x |", "| `a-case` | 8, greedy | 60 ms | - | - | - |"]


def test_precisions_stand_in_readme_and_comparisons_on_their_page(result: dict[str, Any]) -> None:
    alone = result | {"title": "Precisions", "cases": [row("zen-edge int8", 1, 20, 1), row("zen-edge fp32", 1, 30, 1.5)]}
    found = pages([result | {"case": "a-case"}, alone])
    assert [("Precisions" in block, "A case" in block) for block in found[Path("README.md")]] == [(False, False), (True, False)]
    (table,) = found[PAGE]
    assert table == tables(result)


def test_speech_has_the_times_of_its_parts(result: dict[str, Any]) -> None:
    result["setting"]["task"] = "speech-recognition"
    result["cases"][0] |= {"encoder_ms": 81.2, "encoder_ms_per_window": 40.6, "decoder_ms_per_token": 6.5, "real_time_factor": 0.02}
    for each in result["cases"]:
        each["quality"] = {"wer": 7.25, "agreement_chrf": 99.5}
    text = updated(f"{BEGIN}{END}", [tables(result)])
    assert "| batch 8, greedy | encoder ms | of a window | ms/token | x real time | peak memory |" in text
    assert "| zen-edge int8 | 20 | 60 | 81.2 | 40.6 | 6.5 | 0.02 | 90 MB |" in text
    assert "| torch fp32 | 150 (7.50x) | failed | - | - | - | - | 90 MB |" in text


def test_vectors_are_told_by_their_cosine(result: dict[str, Any]) -> None:
    result["setting"]["task"] = "text-embedding"
    for each in result["cases"]:
        each["quality"] = {"cosine": 0.998, "cosine_min": 0.9957}
    text = updated(f"{BEGIN}{END}", [tables(result)])
    assert "| engine | batch 1 | batch 8 | peak memory | on disk | load + first call | agreement |" in text
    assert "| zen-edge int8 | 20 | 60 | 90 MB | 7.58 MB | 0.625 s | 0.9957 |" in text
    assert "load and agreement (the least cosine to PyTorch's vectors)" in text and "chrF" not in text
