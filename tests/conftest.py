"""What every room's tests share: the shipped checkpoint and bundles made of it once per run."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zen_edge.attention_map import AttentionMap
from zen_edge.manifest import describe_files, read_manifest, write_manifest

DEAR = ("exporters/architectures", "speech", "exporters", "encoders", "utterances", "pipelines", "modules", "benchmarks", "ctc", "seq2seq", "cli")


def pytest_configure() -> None:
    """Workers of pytest-xdist share the processors out: threads of one would wait for those of another."""
    if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
        usable, workers = sorted(os.sched_getaffinity(0)), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        os.sched_setaffinity(0, usable[int(worker.removeprefix("gw")) :: workers] or usable)


def folder_of(nodeid: str) -> str:
    """tests/speech/test_live.py::test_it -> speech"""
    return nodeid.partition("::")[0].removeprefix("tests/").rpartition("/")[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The dearest folders go first, lest one worker waits for the last of the other."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        folders = {item: folder_of(item.nodeid) for item in items}
        items.sort(key=lambda item: DEAR.index(folders[item]) if folders[item] in DEAR else len(DEAR))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of a folder share what its conftest.py makes: one worker has them all."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return folder_of(nodeid)

    return ByFolder(config, log)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """PyTorch, where any of the tests has imported it: threads cost more than they bring at these sizes."""
    if (torch := sys.modules.get("torch")) is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def real_checkpoint() -> Callable[[str], Path]:
    """real_checkpoint("whisper-base"): its folder, in one of those that ZEN_EDGE_CHECKPOINTS names."""

    def find(name: str) -> Path:
        named = [Path(folder) for folder in os.environ.get("ZEN_EDGE_CHECKPOINTS", "").split(os.pathsep) if folder]
        found = [path for folder in named for path in (folder, folder / name) if path.name == name and (path / "config.json").exists()]
        assert found, f"ZEN_EDGE_CHECKPOINTS names no folder that holds {name}"
        return found[0]

    return find


@pytest.fixture(scope="session")
def demo_checkpoint() -> Path:
    """A small English to French translator in Hugging Face layout."""
    return Path(str(files("zen_edge"))) / "data" / "marian-en-fr"


@pytest.fixture(scope="session")
def export_demo(demo_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """export_demo(precision) -> the bundle's folder."""

    def make(precision: str) -> Path:
        from zen_edge.exporters import export  # seconds, for torch

        return export(demo_checkpoint, tmp_path_factory.mktemp("demo") / precision, precision=precision).path

    return make


@pytest.fixture(scope="session")
def demo_fp32(export_demo: Callable[[str], Path]) -> Path:
    return export_demo("fp32")


@pytest.fixture(scope="session")
def demo_int8(export_demo: Callable[[str], Path]) -> Path:
    return export_demo("int8")


@pytest.fixture(scope="session")
def vouch() -> Callable[[Path, str], None]:
    """vouch(bundle, file): say in the manifest that a changed file is meant to be so."""

    def write(bundle: Path, name: str) -> None:
        manifest = json.loads((bundle / "zen-edge.json").read_text("utf-8"))
        data = (bundle / name).read_bytes()
        manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        (bundle / "zen-edge.json").write_text(json.dumps(manifest), encoding="utf-8")

    return write


@pytest.fixture(scope="session")
def keep_attention(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """keep_attention(bundle) -> a copy of it as `--with-attention` would have written it, without tracing it again."""

    def make(bundle: Path) -> Path:
        from zen_edge.exporters.attention_outputs import save_attention_outputs

        folder = tmp_path_factory.mktemp("attention") / bundle.name
        shutil.copytree(bundle, folder)
        manifest = read_manifest(folder)
        save_attention_outputs(folder, [graph.name for graph in manifest.graphs], manifest.model_type)
        write_manifest(folder, replace(manifest, files=describe_files(folder)))
        return folder

    return make


@pytest.fixture(scope="session")
def demo_attention(keep_attention: Callable[[Path], Path], demo_fp32: Path) -> Path:
    return keep_attention(demo_fp32)


@pytest.fixture(scope="session")
def odd_map() -> AttentionMap:
    """Attention of words of many scripts, and of words that a page or a picture could take for something else, with weights of no model."""
    source = ("▁hello", "▁שלום", "<script>alert(1)</script>", "</script>", "<!--", "\u202eevil", "$x_1$", "</s>")
    target = ("▁مرحبا", "▁بالعالم", "▁Привет", "a\nb", "</s>")
    rng, S, T = np.random.default_rng(0), len(target), len(source)
    weights = {
        "encoder": rng.dirichlet(np.ones(T), (3, 4, T)),
        "decoder": rng.dirichlet(np.ones(S), (2, 4, S)),
        "cross": rng.dirichlet(np.ones(T), (2, 4, S)),
    }
    text = "مرحبا <b>بالعالم</b> </script><script>alert(2)</script>"
    return AttentionMap(source, target, ("<s>", *target[:-1]), {kind: value.astype(np.float32) for kind, value in weights.items()}, text)


@pytest.fixture(scope="session")
def load_bound() -> Callable[[Path], Any]:
    """load_bound(bundle): its pipeline on the path that a GPU takes, values bound to memory of the device, with the CPU for the device."""
    from zen_edge.runtimes import load
    from zen_edge.runtimes.providers import PROVIDERS

    return lambda bundle: load(bundle, device=replace(PROVIDERS[-1], binds=True), threads=1)
