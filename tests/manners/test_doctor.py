"""zen-edge doctor: what it says on machines in different states."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zen_edge.cli import app
from zen_edge.runtimes import cores, doctor, installed
from zen_edge.runtimes.nvidia import Reason


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
    monkeypatch.setattr(installed, "_installed", lambda name: False)
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # makes its import fail
    found = findings(monkeypatch)["ONNX Runtime"]
    assert found.status == "problem"
    assert 'pip install "zen-edge[cpu]"' in found.advice
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 3


def test_with_both_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "_installed", lambda name: name in installed.BUILDS[:2])
    found = findings(monkeypatch)["ONNX Runtime"]
    assert found.status == "problem"
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in found.advice


def test_a_gpu_build_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    class Module:
        @staticmethod
        def get_available_providers() -> list[str]:
            return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

    monkeypatch.setattr(doctor, "onnxruntime", Module)
    monkeypatch.setattr(doctor, "why_not", lambda name: Reason(f"{name} cannot start, because of it", "install it"))
    found = findings(monkeypatch)
    told = found["CUDAExecutionProvider"]
    assert (told.status, told.value, told.advice) == ("problem", "CUDAExecutionProvider cannot start, because of it", "install it")
    assert found["TensorrtExecutionProvider"].status == "note"  # it comes along with every GPU build
    assert "CPUExecutionProvider" not in found

    monkeypatch.setattr(doctor, "why_not", lambda name: None)
    monkeypatch.setattr(doctor, "loads", lambda file: False)
    found = findings(monkeypatch)
    assert found["CUDAExecutionProvider"].status == "ok"
    assert found["cuDNN"].status == "note"


def test_where_the_nodes_of_a_bundle_run(demo_fp32: Path, tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["doctor", str(demo_fp32), "--device", "cpu", "--json"])
    assert shown.exit_code == 0
    told = {row["name"]: row["value"] for row in json.loads(shown.stdout)["findings"]}
    assert told["device"] == "cpu: cpu was asked for."
    assert told["reorder.onnx"] == "4 nodes on CPUExecutionProvider"
    shown = CliRunner().invoke(app, ["doctor", str(tmp_path)])
    assert shown.exit_code == 3
    assert CliRunner().invoke(app, ["doctor", "--device", "cpu"]).exit_code == 1


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
