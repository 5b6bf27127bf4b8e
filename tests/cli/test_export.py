"""zen-edge export: what it refuses, and that nothing half-written stays."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def copy_of(demo_checkpoint: Path, folder: Path) -> Path:
    shutil.copytree(demo_checkpoint, folder)
    return folder


def test_export_and_run(zen, demo_checkpoint, tmp_path: Path):
    out = tmp_path / "out"
    done = zen("export", demo_checkpoint, out, "--precision", "int8", "--no-verify")
    assert (done.exit_code, done.stdout) == (0, "")
    steps = [line.rsplit("  ", 1)[0] for line in done.stderr.splitlines()]
    assert steps[:6] == ["load the checkpoint", "trace the encoder", "trace the decoder", "fuse", "quantize to int8", "write the graphs"]
    assert "verify" not in done.stderr
    assert steps[-1].startswith(f"{out}: translation, int8")
    manifest = json.loads((out / "zen-edge.json").read_text())
    assert manifest["parity"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert zen("run", out, "simple game").stdout == "jeu simple\n"

    before = (out / "zen-edge.json").read_bytes()
    refused = zen("export", demo_checkpoint, out)
    assert refused.exit_code == 1
    assert refused.stderr == f"zen-edge: '{out}' exists already: choose another OUT, or replace it with --force\n"
    assert (out / "zen-edge.json").read_bytes() == before


def test_force_replaces_bundles_only(zen, demo_checkpoint, tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("years of work")
    done = zen("export", demo_checkpoint, tmp_path, "--force")
    assert done.exit_code == 1
    assert "--force replaces bundles only" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--precision", "fp7"], "precision 'fp7' is not exported; there are: fp32, fp16, int8, int8-blocks, int4."),
        (["--precision", ""], "precision '' is not exported"),
        (["--task", "frob"], "task 'frob' is not known"),
        (["--device", "tpu"], "device 'tpu' is not exported for; there are: cpu, cuda."),
        (["--device", "cuda", "--precision", "int8"], "ONNX Runtime has no CUDA kernels for that: choose fp16, int8-blocks or int4."),
    ],
    ids=str,
)
def test_wrong_options(zen, demo_checkpoint, tmp_path: Path, flags, message):
    done = zen("export", demo_checkpoint, tmp_path / "new" / "out", *flags)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert message in done.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_an_export_that_fails_on_the_way_leaves_nothing(zen, demo_checkpoint, tmp_path: Path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "disk")

    monkeypatch.setattr("zen_edge.exporters.graphs.trace_encoder", full)  # the tokenizer is written by then
    done = zen("export", demo_checkpoint, tmp_path / "new" / "out")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == "zen-edge: No space left on device: disk"
    assert not list(tmp_path.iterdir())


def test_a_verification_that_fails_keeps_nothing(zen, demo_checkpoint, tmp_path: Path, monkeypatch):
    from zen_edge import check
    from zen_edge.parity import ParityReport

    monkeypatch.setattr(check, "verify", lambda bundle, checkpoint: ParityReport("fp32", ()))
    done = zen("export", demo_checkpoint, tmp_path / "out")
    assert done.exit_code == 3
    assert done.stderr.splitlines()[-1] == ("zen-edge: the bundle does not say what PyTorch says, and was not kept: no output was compared.")
    assert not list(tmp_path.iterdir())


def test_broken_checkpoints(zen, demo_checkpoint, tmp_path: Path):
    for name, data in (("config.json", b"{"), ("model.safetensors", b"\x08"), ("vocab.json", b"[]")):
        broken = copy_of(demo_checkpoint, tmp_path / name)
        (broken / name).write_bytes(data)
        done = zen("export", broken, tmp_path / "out")
        assert done.exit_code == 1, name
        assert done.stderr.splitlines()[-1].startswith("zen-edge: ")
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
    assert zen("export", tmp_path / "missing", tmp_path / "out").exit_code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors", "vocab.json"]


def test_an_interruption_that_a_library_made_an_error_of(zen, demo_checkpoint, tmp_path: Path, monkeypatch):
    def interrupted(*_: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("no result")  # in whose context the interruption is

    monkeypatch.setattr("zen_edge.exporters.graphs.trace_encoder", interrupted)
    done = zen("export", demo_checkpoint, tmp_path / "out")
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (130, "zen-edge: interrupted")
    assert not list(tmp_path.iterdir())


# Memory ends where weights are quantized, in numpy: libraries in C++ may abort where it ends in them, and nobody can tell anything then.
FULL = """
import resource, runpy
from zen_edge.exporters.quantization import int8
from zen_edge.exporters.turns import trim

whole = int8.quantize

def quantize(weight, axis):
    trim()
    held = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (held, held))
    return whole(weight, axis)

int8.quantize = quantize
runpy.run_module("zen_edge", run_name="__main__")
"""


@pytest.mark.sweep
@pytest.mark.skipif(sys.platform != "linux", reason="the limit counts what is mapped on Linux alone")
def test_where_memory_runs_out_it_is_told_and_nothing_is_left(demo_checkpoint, tmp_path: Path):
    command = [sys.executable, "-c", FULL, "export", str(demo_checkpoint), str(tmp_path / "out"), "--precision", "int8"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith("zen-edge: there is not enough memory for this: give more")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
