"""`zen-edge bench` for real, on the shipped model."""

import importlib.metadata
import json
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from zen_edge.benchmarks.engines import zen_edge as engine
from zen_edge.cli import app
from zen_edge.errors import OptionError

ROW = {"engine", "precision", "batch_size", "num_beams", "latency_ms", "tokens_per_second", "load_s", "first_call_s", "peak_memory_mb", "disk_mb", "quality"}  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEN_EDGE_CACHE", str(tmp_path / "cache"))


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


def test_against_torch(demo_int8: Path, demo_checkpoint: Path, tmp_path: Path) -> None:
    done = bench(demo_int8, "--against", "torch", "--model", demo_checkpoint, "--rounds", 2, "--limit", 4, "--report", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report.keys() >= {"machine", "versions", "cases"}
    assert [(row["engine"], row["precision"]) for row in report["cases"]] == [("zen-edge", "int8"), ("torch", "fp32")]
    for row in report["cases"]:
        assert row.keys() >= ROW
        assert row["latency_ms"].keys() == {"median", "p95", "p99"}
        assert all(value > 0 for value in (*row["latency_ms"].values(), *(row[key] for key in ROW if isinstance(row[key], float))))
        assert (row["batch_size"], row["num_beams"], row["rounds"]) == (1, 1, 2)
    ours, theirs = report["cases"]
    assert theirs["time_ratio"]["median"] > 1  # int8 on a small model is several times faster on any machine
    assert ours["quality"]["agreement_with"] == "torch fp32" and ours["quality"]["agreement_chrf"] > 60
    assert ours["peak_memory_mb"] < theirs["peak_memory_mb"]  # the bundle's process has no torch in it
    assert {"torch", "transformers", "onnxruntime", "zen-edge"} <= report["versions"].keys()
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


def test_against_ctranslate2_with_exact_lengths(demo_int8: Path, demo_checkpoint: Path) -> None:
    pytest.importorskip("ctranslate2", reason="an engine that is not installed cannot be tried")
    options = ("--batch-sizes", "1,3", "--num-beams", "2", "--source-tokens", 12, "--new-tokens", 9, "--rounds", 2)
    done = bench(demo_int8, "--against", "ctranslate2,ctranslate2:fp32", "--model", demo_checkpoint, *options, "--json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["cases"]
    assert [(row["name"], row["batch_size"]) for row in rows] == [
        (name, size) for size in (1, 3) for name in ("zen-edge int8", "ctranslate2 int8", "ctranslate2 fp32")
    ]
    for row in rows:
        assert row["tokens_per_second"] * sum(row["rounds_ms"]) / 1e3 == pytest.approx(2 * 9 * row["batch_size"], rel=0.01)


def test_an_engine_that_is_missing_does_not_stop_the_others(demo_int8: Path, demo_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "ctranslate2":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(importlib.metadata, "version", version)
    done = bench(demo_int8, "--against", "ctranslate2", "--model", demo_checkpoint, "--rounds", 1, "--limit", 2, "--memory", "mapped")
    assert done.exit_code == 1
    assert "zen-edge int8" in done.stdout and "1.00" in done.stdout
    assert "ctranslate2 int8: ctranslate2: not installed: pip install ctranslate2" in done.stdout


def test_without_a_checkpoint_there_is_nothing_to_convert(demo_int8: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = bench(demo_int8, "--against", "torch", "--model", tmp_path / "nothing")
    assert done.exit_code == 1 and "is no checkpoint folder" in done.stderr


def test_more_tokens_than_the_model_has_room_for(demo_int8: Path) -> None:
    done = bench(demo_int8, "--new-tokens", 9999)
    assert done.exit_code == 1 and "fewer than 9999" in done.stderr
    assert "memory 'ram' is not known" in bench(demo_int8, "--memory", "ram").stderr


def test_cuda_graphs_that_cannot_be_recorded(demo_int8: Path) -> None:
    for options, why in (
        ((), "this is measured on cpu: give --device cuda"),
        (("--device", "cuda"), "int8: the bundle was exported for the CPU"),
    ):
        done = bench(demo_int8, "--cuda-graphs", *options)
        assert done.exit_code == 1 and why in done.stderr and done.stderr.count("\n") == 1
    for load in (engine.load, engine.load_speech, partial(engine.load_encoder, task="text-embedding")):
        with pytest.raises(OptionError, match="CUDA graphs are of CUDAExecutionProvider"):
            load(demo_int8, "as exported", 1, cuda_graphs=True)


@pytest.mark.parametrize("wrong", ["0", "1,x", "", "-1", "1,,2"])
def test_wrong_numbers_are_usage_errors(wrong: str, tmp_path: Path) -> None:
    assert bench(tmp_path, "--batch-sizes", wrong).exit_code == 2
