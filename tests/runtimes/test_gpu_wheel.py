"""The GPU build of ONNX Runtime as a user has it: in an environment of its own, on a machine with a GPU or without.

python -m venv /tmp/gpu && /tmp/gpu/bin/pip install -c constraints.txt ".[gpu]"
ZEN_EDGE_GPU_PYTHON=/tmp/gpu/bin/python make gpu
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

pytestmark = pytest.mark.gpu_wheel

LINES = ["simple game with cards for two players", "library of tools for sound", "a text editor"]
SEARCHES: list[dict[str, Any]] = [{"num_beams": 1}, {"num_beams": 4}, {"do_sample": True, "seed": 3}]
TRANSLATE = """
    import json, sys
    import zen_edge
    from zen_edge.runtimes.providers import why_not
    bundle, lines, searches = json.loads(sys.argv[1])
    told = {"reason": None if (found := why_not("CUDAExecutionProvider")) is None else list(found)}
    for device in ("cpu", "auto", "cuda"):
        try:
            with zen_edge.load(bundle, device=device, threads=1) as pipeline:
                tokens = [[results[0].tokens for results in pipeline.generate(lines, **options)] for options in searches]
                told[device] = {"tokens": tokens, "device": pipeline.provider.device, "why": pipeline.provider.why, "placement": pipeline.placement()}
        except zen_edge.ZenEdgeError as error:
            told[device] = {"error": str(error), "kind": type(error).__name__}
    print(json.dumps(told))
"""

RECORD = """
    import json, sys
    import zen_edge
    bundle, lines, searches = json.loads(sys.argv[1])
    try:
        with zen_edge.load(bundle, device="cuda", cuda_graphs=True, threads=1) as pipeline:
            told = [[[results[0].tokens for results in pipeline.generate(lines, **options)] for options in searches] for _ in range(3)]
    except zen_edge.ZenEdgeError as error:
        told = {"error": str(error), "kind": type(error).__name__}
    print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def gpu_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """gpu_python("-m", "zen_edge", ...): run there."""
    python = os.environ.get("ZEN_EDGE_GPU_PYTHON", "")
    assert Path(python).is_file(), "ZEN_EDGE_GPU_PYTHON names no Python"

    def invoke(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        command = [python, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=inherited | environment, cwd=Path(python).parent, timeout=300, check=False)

    return invoke


@pytest.fixture(scope="module")
def told(gpu_python, demo_fp32) -> dict[str, Any]:
    done = gpu_python("-c", dedent(TRANSLATE), json.dumps([str(demo_fp32), LINES, SEARCHES]))
    assert done.returncode == 0, done.stderr[-2000:]
    assert "onnxruntime" not in done.stderr  # nothing that ONNX Runtime prints by itself
    return json.loads(done.stdout)


def test_the_gpu_or_the_reason_why_not(told):
    expected = told["cpu"]["tokens"]
    if told["reason"] is None:  # a GPU: the tokens are the CPU's, and the device did the work
        assert told["cuda"]["tokens"] == told["auto"]["tokens"] == expected
        assert told["auto"]["device"] == "cuda"
        for counts in told["cuda"]["placement"].values():
            assert counts["CUDAExecutionProvider"] > counts.get("CPUExecutionProvider", 0)
    else:
        said, todo = told["reason"]
        assert told["cuda"] == {"error": f"{said}: {todo}; or use --device cpu.", "kind": "MissingDependencyError"}
        assert told["auto"]["tokens"] == expected
        assert told["auto"]["why"] == f"auto took cpu: {said}: {todo}."


def test_recorded_steps_or_the_reason_why_not(gpu_python, told, demo_checkpoint, tmp_path):
    """As CUDA graphs, of a bundle that was exported for it: the tokens are the CPU's each time."""
    from zen_edge.exporters import export  # seconds, for torch

    bundle = export(demo_checkpoint, tmp_path / "out", precision="fp32", device="cuda").path
    done = gpu_python("-c", dedent(RECORD), json.dumps([str(bundle), LINES, SEARCHES]))
    assert done.returncode == 0, done.stderr[-2000:]
    expected = [told["cpu"]["tokens"]] * 3 if told["reason"] is None else told["cuda"]
    assert json.loads(done.stdout) == expected


def test_the_libraries_that_are_missing_are_those_the_system_does_not_find(gpu_python, told):
    """Asked of the loader itself, library by library, for what `ldd` would print."""
    script = """
        import ctypes, json
        from pathlib import Path
        import onnxruntime
        folder = Path(onnxruntime.__file__).parent / "capi"
        onnxruntime.preload_dlls()  # those that pip installed; it prints what it does not find
        try:
            ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), ctypes.RTLD_GLOBAL)
            ctypes.CDLL(str(folder / "libonnxruntime_providers_cuda.so"))
            print(json.dumps(None))
        except OSError as error:
            print(json.dumps(str(error)))
    """
    said = json.loads(gpu_python("-c", dedent(script)).stdout.splitlines()[-1])
    if said is None:
        assert told["reason"] is None or "cannot be loaded" not in told["reason"][0]
    else:  # the first that the loader misses
        assert said.partition(":")[0] in told["reason"][0]
        assert "cannot be loaded" in told["reason"][0]


def test_the_command_line_says_it_in_one_line(gpu_python, told, demo_fp32):
    auto = gpu_python("-m", "zen_edge", "run", demo_fp32, LINES[0], "--device", "auto")
    assert auto.returncode == 0
    assert auto.stdout.count("\n") == 1
    assert auto.stderr == f"zen-edge: {told['auto']['why']}\n"
    cuda = gpu_python("-m", "zen_edge", "run", demo_fp32, LINES[0], "--device", "cuda")
    if told["reason"] is None:
        assert (cuda.returncode, cuda.stdout) == (0, auto.stdout)
    else:
        assert (cuda.returncode, cuda.stdout, cuda.stderr) == (1, "", f"zen-edge: {told['cuda']['error']}\n")


def test_doctor(gpu_python, told, demo_fp32):
    done = gpu_python("-m", "zen_edge", "doctor", demo_fp32, "--device", "auto", "--json")
    found = {row["name"]: row for row in json.loads(done.stdout)["findings"]}
    assert "onnxruntime-gpu" in found["ONNX Runtime"]["value"]
    assert "decoder.onnx" in found
    if told["reason"] is not None:
        assert [found["CUDAExecutionProvider"][key] for key in ("status", "value", "advice")] == ["problem", *told["reason"]]
        assert done.returncode == 3


def test_both_builds_at_once_are_told_apart(gpu_python, demo_fp32, tmp_path):
    """The other build's record beside this one's, as pip leaves it."""
    other = tmp_path / "onnxruntime-1.32.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime\nVersion: 1.32.0\n")
    done = gpu_python("-m", "zen_edge", "doctor", PYTHONPATH=str(tmp_path), COLUMNS="400")
    assert done.returncode == 3
    assert "onnxruntime 1.32.0 and onnxruntime-gpu" in done.stdout
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in done.stdout
    run = gpu_python("-m", "zen_edge", "run", demo_fp32, "x", PYTHONPATH=str(tmp_path))
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("zen-edge: onnxruntime and onnxruntime-gpu are both installed and overwrite each other")
