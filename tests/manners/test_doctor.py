"""zen-edge doctor: what it says on machines in different states."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zen_edge.cli import app
from zen_edge.runtimes import cores, doctor, session


def findings(monkeypatch: pytest.MonkeyPatch) -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in doctor.examine()}


def test_a_machine_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = CliRunner().invoke(app, ["doctor", "--json"])
    assert shown.exit_code == 0
    told = json.loads(shown.stdout)
    assert told["healthy"] is True
    assert {"Python", "CPU", "cores", "ONNX Runtime", "usage events of ONNX Runtime", "extra export"} <= {row["name"] for row in told["findings"]}
    assert "CPUExecutionProvider" in CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "200"}).stdout


def test_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_installed", lambda name: False)
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # makes its import fail
    found = findings(monkeypatch)["ONNX Runtime"]
    assert found.status == "problem"
    assert 'pip install "zen-edge[cpu]"' in found.advice
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 3


def test_with_both_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_installed", lambda name: True)
    found = findings(monkeypatch)["ONNX Runtime"]
    assert found.status == "problem"
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in found.advice


def test_a_gpu_build_without_cuda_names_each_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    class Module:
        @staticmethod
        def get_available_providers() -> list[str]:
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    monkeypatch.setattr(doctor, "onnxruntime", Module)
    monkeypatch.setattr(doctor, "_loads", lambda file: "cublas" in file)
    found = findings(monkeypatch)
    assert found["cublas"].status == found["cublasLt"].status == "ok"
    assert {name for name in doctor.CUDA_LIBRARIES if found[name].status == "problem"} == {"the NVIDIA driver", "cudart", "cufft", "cuDNN"}
    assert found["cuDNN"].advice.startswith("pip install nvidia-cudnn")


def test_inside_a_cgroup_of_one_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "CGROUP", tmp_path)
    (tmp_path / "cpu.max").write_text("100000 100000")
    assert findings(monkeypatch)["cores"].value.startswith("1 usable of ")
    assert findings(monkeypatch)["cores"].value.endswith("1 by cgroup")


@pytest.mark.parametrize(
    ("text", "expected", "exact_int8"),
    [
        ("model name : Old\nflags : fpu avx avx2\n", "Old: AVX2", False),
        ("model name : New\nflags : fpu avx2 avx512f avx512_vnni\n", "New: AVX2, AVX512, AVX512-VNNI", True),
        ("CPU implementer : 0x41\nFeatures : fp asimd asimddp i8mm\n", "NEON, NEON dot product, I8MM", True),
    ],
)
def test_cpu_features(text: str, expected: str, exact_int8: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self, **_: text if str(self) == "/proc/cpuinfo" else "")
    found = {finding.name: finding for finding in doctor._cpu()}
    assert expected in found["CPU"].value
    assert ("int8" not in found) is exact_int8
