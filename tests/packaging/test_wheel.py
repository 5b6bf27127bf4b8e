"""What a user installs: the four rooms under one name, their data, and nothing else."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = {"zen_edge": "zen_edge", "exporters": "zen_edge/exporters", "runtimes": "zen_edge/runtimes", "benchmarks": "zen_edge/benchmarks"}


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files, from a copy of the tree: a build leaves folders behind."""
    tree = tmp_path_factory.mktemp("tree")
    for name in (*ROOMS, "tests"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(out), str(tree)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = out.glob("*.whl")
    site = out / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def test_every_module_and_all_data_travel(unpacked):
    for room, place in ROOMS.items():
        expected = {path.relative_to(ROOT / room) for path in (ROOT / room).rglob("*.py")}
        if (ROOT / room / "data").is_dir():
            expected |= {path.relative_to(ROOT / room) for path in (ROOT / room / "data").rglob("*") if path.is_file()}
        missing = [str(path) for path in sorted(expected) if not (unpacked / place / path).is_file()]
        assert not missing
    assert (unpacked / "zen_edge" / "py.typed").is_file()
    assert (unpacked / "zen_edge" / "runtimes" / "py.typed").is_file()
    assert (unpacked / "zen_edge" / "data" / "marian-en-fr" / "model.safetensors").stat().st_size > 10e6


def test_nothing_else_travels(unpacked):
    top = {path.name.split("-")[0] for path in unpacked.iterdir()}
    assert top == {"zen_edge"}  # the package and its dist-info
    names = [path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()]
    assert not [name for name in names if Path(name).name.startswith(("test_", "conftest")) or "/tests/" in name]
    assert not [name for name in names if name.endswith((".pyc", ".toml", ".orig"))]
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_unpacked_wheel_works(unpacked, demo_int8, tmp_path: Path):
    code = """
import sys
sys.path.insert(0, sys.argv[1])
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
import zen_edge, zen_edge.runtimes, zen_edge.exporters, zen_edge.benchmarks
for module in (zen_edge, zen_edge.runtimes, zen_edge.exporters, zen_edge.benchmarks):
    assert module.__file__.startswith(sys.argv[1]), module.__file__
assert not {"runtimes", "exporters", "benchmarks"} & sys.modules.keys()
from zen_edge.demo import shipped_model
assert str(shipped_model()).startswith(sys.argv[1])
print(zen_edge.load(sys.argv[2])("simple game"))
"""
    command = [sys.executable, "-I", "-c", code, str(unpacked), str(demo_int8)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "jeu simple\n"


@pytest.mark.alone
def test_the_import_is_light(tmp_path: Path):
    code = """
import sys, json, time
begin = time.perf_counter()
import zen_edge
print(json.dumps([time.perf_counter() - begin, sorted(sys.modules)]))
"""
    taken = []
    for _ in range(3):
        taken_now, modules = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path).stdout)
        taken.append(taken_now)
        if taken_now < 0.5:
            break
        time.sleep(0.5)
    assert min(taken) < 0.5
    rooms = [name for name in modules if name.startswith(("zen_edge.exporters", "zen_edge.runtimes", "zen_edge.benchmarks", "zen_edge.cli"))]
    heavy = {"torch", "transformers", "onnx", "onnx_ir", "onnxruntime", "tokenizers", "sentencepiece", "rich", "typer"} & set(modules)
    assert not rooms
    assert not heavy


def test_no_module_goes_by_two_names():
    assert not {"runtimes", "exporters", "benchmarks"} & sys.modules.keys()
    code = "import sys, zen_edge.runtimes, zen_edge.cli; assert not {'runtimes', 'exporters', 'benchmarks'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_every_package_is_listed_once():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    found = {
        ".".join(Path(place, path.parent.relative_to(ROOT / room)).parts)
        for room, place in ROOMS.items()
        for path in (ROOT / room).rglob("__init__.py")
    }
    assert sorted(listed) == sorted(found)


def test_every_library_that_is_imported_is_declared():
    """A library that comes only with another one goes away with it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = {"onnx_ir": "onnx-ir", "rouge_score": "rouge-score", "google": "onnx"}  # protobuf comes with onnx, which hands out its messages

    def declared(*groups: str) -> set[str]:
        lines = [line for group in groups for line in (project["dependencies"] if group == "" else extras[group])]
        return {line.split(">")[0].split("=")[0].strip() for line in lines}

    allowed = {
        "zen_edge": declared("", "export", "bench"),
        "exporters": declared("", "export"),
        "runtimes": declared("", "cpu", "moses"),
    }
    for room, libraries in allowed.items():
        for path in (ROOT / room).rglob("*.py"):
            for name in imported(path):
                assert named.get(name, name) in libraries | {"zen_edge"}, f"{path.relative_to(ROOT)} imports {name}"


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names
