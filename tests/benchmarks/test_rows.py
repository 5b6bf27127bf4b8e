"""The arithmetic of a report."""

import sys
from pathlib import Path

import pytest

from zen_edge.benchmarks.contestants import Contestant
from zen_edge.benchmarks.engines import engine
from zen_edge.benchmarks.measure import Measured
from zen_edge.benchmarks.rows import case_rows, latencies, time_ratio
from zen_edge.inputs import Line

LINES = (Line("a", "un petit chat noir"), Line("b", "deux grands chiens blancs"))


def measured(name: str, seconds: list[float], texts: dict[int, str], folder: Path) -> Measured:
    contestant = Contestant(f"{name} fp32", engine(name), "fp32", folder, Path(sys.executable))
    return Measured(contestant, 0.5, {}, 0.25, seconds, seconds, [10] * len(seconds), texts, 123.456)


def test_percentiles_are_milliseconds() -> None:
    assert latencies([i / 1000 for i in range(1, 101)]) == {"median": 50.5, "p95": 95.05, "p99": 99.01}


def test_one_round_is_all_percentiles() -> None:
    assert latencies([0.25]) == {"median": 250, "p95": 250, "p99": 250}


def test_ratios_pair_the_rounds() -> None:
    # The machine was ten times slower in the middle: both felt it, and the ratio did not.
    found = time_ratio([0.2, 2.0, 0.2, 0.2], [0.1, 1.0, 0.1, 0.1])
    assert found == {"median": 2.0, "quartiles": [2.0, 2.0]}
    assert time_ratio([0.05], [0.1])["median"] == 0.5  # a loss is shown like a win


def test_a_row_has_speed_memory_and_quality(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(bytes(2_000_000))
    said = {0: "un petit chat noir", 1: "deux grands chiens blancs"}
    other = {0: "un petit chat noir", 1: "trois souris"}
    case = [measured("torch", [0.1, 0.1], said, tmp_path), measured("ctranslate2", [0.2, 0.3], other, tmp_path)]
    first, second = case_rows(case, 8, 4, LINES, baseline="torch fp32", reference="torch fp32")
    assert {key: second[key] for key in ("engine", "precision", "batch_size", "num_beams")} == {
        "engine": "ctranslate2",
        "precision": "fp32",
        "batch_size": 8,
        "num_beams": 4,
    }
    assert second["latency_ms"]["median"] == 250
    assert second["tokens_per_second"] == 40 and second["cpu_ms"] == 250
    assert (second["load_s"], second["first_call_s"], second["peak_memory_mb"], second["disk_mb"]) == (0.5, 0.25, 123.5, 2.0)
    assert second["time_ratio"]["median"] == 2.5
    assert first["quality"] == {
        "lines": 2,
        "chrf": 100.0,
        "bleu": pytest.approx(100),
        "agreement_chrf": 100.0,
        "agreement_with": "torch fp32",
        "identical": 2,
    }
    assert second["quality"]["chrf"] == second["quality"]["agreement_chrf"] < 80
    assert second["quality"]["identical"] == 1


@pytest.mark.parametrize("lines", [(Line("a"), Line("b")), (Line("a", "un"), Line("b"))])
def test_chrf_needs_a_target_for_every_line(tmp_path: Path, lines: tuple[Line, ...]) -> None:
    (row,) = case_rows([measured("torch", [0.1], {0: "un", 1: "deux"}, tmp_path)], 1, 1, lines, "torch fp32", "torch fp32")
    assert "chrf" not in row["quality"] and row["quality"]["agreement_chrf"] == 100


def test_summaries_are_scored_by_rouge(tmp_path: Path) -> None:
    said = {0: "un petit chat", 1: "deux grands chiens blancs"}
    (row,) = case_rows([measured("torch", [0.1], said, tmp_path)], 1, 1, LINES, "torch fp32", "torch fp32", task="summarization")
    # Three of four words and two of three pairs in common, then all.
    assert row["quality"] == {
        "lines": 2,
        "rouge_1": pytest.approx(50 * (6 / 7 + 1), abs=0.01),
        "rouge_2": pytest.approx(50 * (4 / 5 + 1), abs=0.01),
        "rouge_l": pytest.approx(50 * (6 / 7 + 1), abs=0.01),
        "agreement_chrf": 100,
        "agreement_with": "torch fp32",
        "identical": 2,
    }


def test_without_a_baseline_there_is_no_ratio(tmp_path: Path) -> None:
    (row,) = case_rows([measured("torch", [0.1], {0: "un", 1: "deux"}, tmp_path)], 1, 1, LINES, "zen-edge int8", "zen-edge fp32")
    assert "time_ratio" not in row and "agreement_chrf" not in row["quality"]
