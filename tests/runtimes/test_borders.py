"""The runtime stands alone: no library of the exporter's, no telemetry, and a word of advice where ONNX Runtime is not as it should be."""

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from zen_edge.runtimes import load

FORBIDDEN = ("torch", "transformers", "onnx", "onnxscript", "onnx_ir", "safetensors", "huggingface_hub", "zen_edge.exporters", "zen_edge.benchmarks")

PRELUDE = """
import importlib, json, os, pkgutil, sys

class Refuse:
    def __init__(self, names, message="{name} may not be imported here"):
        self.names, self.message = names, message

    def find_spec(self, name, path=None, target=None):
        if any(name == one or name.startswith(one + ".") for one in self.names):
            raise ImportError(self.message.format(name=name))

def walk(package):
    return [module.name for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + ".")]
"""


def fresh(script: str, *arguments: str, **environment: str) -> str:
    """What `script` prints in an interpreter of its own; its error, if it fails."""
    inherited = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-c", PRELUDE + dedent(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=inherited | environment, cwd=Path(sys.executable).parent, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_runtime_needs_none_of_the_exporters_libraries(demo_fp32):
    """Every module imports, and a bundle translates as it does here."""
    script = """
        forbidden = json.loads(sys.argv[1])
        sys.meta_path.insert(0, Refuse(forbidden))
        for name in walk("zen_edge.runtimes"):
            importlib.import_module(name)
        from zen_edge.runtimes import load
        with load(sys.argv[2], threads=1) as pipeline:
            text = pipeline("a small text editor")
        print(json.dumps([text, sorted(name for name in sys.modules if name in {*forbidden, "exporters", "runtimes", "benchmarks"})]))
    """
    text, found = json.loads(fresh(script, json.dumps(FORBIDDEN), str(demo_fp32)))
    assert found == []
    assert text == load(demo_fp32)("a small text editor")
    assert text


def test_the_shared_room_needs_neither_side():
    """Its modules import without torch and without ONNX Runtime; what calls the rooms does so inside functions."""
    script = """
        sys.meta_path.insert(0, Refuse([*json.loads(sys.argv[1]), "zen_edge.runtimes", "onnxruntime"]))
        rooms = ("zen_edge.runtimes", "zen_edge.exporters", "zen_edge.benchmarks")
        names = [module.name for module in pkgutil.iter_modules(importlib.import_module("zen_edge").__path__, "zen_edge.")]
        print(json.dumps([importlib.import_module(name).__name__ for name in names if name not in rooms]))
    """
    assert {"zen_edge.manifest", "zen_edge.parity", "zen_edge.errors"} <= set(json.loads(fresh(script, json.dumps(FORBIDDEN))))


def test_the_exporters_need_no_runtime():
    script = """
        sys.meta_path.insert(0, Refuse(["zen_edge.runtimes", "zen_edge.benchmarks"]))
        for name in walk("zen_edge.exporters"):
            importlib.import_module(name)
        print(json.dumps(sorted(name for name in sys.modules if name in ("exporters", "runtimes", "benchmarks", "onnxruntime"))))
    """
    assert json.loads(fresh(script)) == []


def test_no_room_is_a_module_of_its_own_here():
    """Imported under two names, a module would exist twice and its classes would not be equal."""
    assert not {"exporters", "runtimes", "benchmarks"} & sys.modules.keys()


WATCH = """
    class Watch:
        seen = []
        def find_spec(self, name, path=None, target=None):
            if name == "onnxruntime":
                self.seen.append(os.environ.get("ORT_DISABLE_TELEMETRY"))
    sys.meta_path.insert(0, Watch())
    for name in walk("zen_edge.runtimes"):
        importlib.import_module(name)
    before = list(Watch.seen)
    from zen_edge.runtimes.installed import onnxruntime
    onnxruntime()
    print(json.dumps([before, Watch.seen]))
"""


def test_usage_events_are_off_before_onnxruntime_is_imported():
    """And it is imported only when it is needed."""
    assert json.loads(fresh(WATCH)) == [[], ["1"]]


def test_a_users_own_choice_of_usage_events_stays():
    assert json.loads(fresh(WATCH, ORT_DISABLE_TELEMETRY="0")) == [[], ["0"]]


# ONNX Runtime missing, twice, broken

ASK = """
    import importlib.metadata
    from zen_edge.errors import MissingDependencyError
    installed, message = json.loads(sys.argv[1])
    real = importlib.metadata.distribution
    def distribution(name):
        if name not in ("onnxruntime", "onnxruntime-gpu"):
            return real(name)
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return object()
    importlib.metadata.distribution = distribution
    if message:
        sys.meta_path.insert(0, Refuse(["onnxruntime"], message))
    from zen_edge.runtimes import load
    try:
        load(sys.argv[2])
    except MissingDependencyError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("installed", "message", "expected"),
    [
        ([], "No module named 'onnxruntime'", 'no ONNX Runtime is installed: pip install "zen-edge[cpu]", or "zen-edge[gpu]" for an NVIDIA GPU.'),
        (["onnxruntime", "onnxruntime-gpu"], "", "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: pip uninstall -y onnxruntime onnxruntime-gpu"),
        (["onnxruntime"], "undefined symbol: OrtGetApiBase\nsecond line", "onnxruntime is installed but cannot be imported (undefined symbol: OrtGetApiBase second line)"),
        (["onnxruntime-gpu"], "libcudart.so.13: cannot open shared object file", "onnxruntime-gpu is installed but cannot be imported (libcudart.so.13"),
    ],
    ids=["neither", "both", "broken", "broken gpu"],
)  # fmt: skip
def test_what_is_wrong_with_onnxruntime_is_told_in_one_line(demo_fp32, installed, message, expected):
    told = fresh(ASK, json.dumps([installed, message]), str(demo_fp32))
    assert told.startswith(expected)
    assert told.count("\n") == 1


def test_a_gpu_that_this_build_cannot_use_is_not_replaced(demo_fp32):
    script = """
        from zen_edge.errors import MissingDependencyError
        from zen_edge.runtimes import load
        from zen_edge.runtimes.installed import onnxruntime
        onnxruntime().get_available_providers = lambda: ["CPUExecutionProvider"]
        try:
            load(sys.argv[1], device="cuda")
        except MissingDependencyError as error:
            print(error)
    """
    told = fresh(script, str(demo_fp32))
    assert told.startswith("onnxruntime ")
    assert 'has no CUDAExecutionProvider (only CPUExecutionProvider): pip uninstall -y onnxruntime, then pip install "zen-edge[gpu]"; or use' in told
