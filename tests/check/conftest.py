"""Copies of the shipped model's fp32 bundle, for tests to damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch

from zen_edge.exporters.checkpoint import Checkpoint, load_checkpoint
from zen_edge.exporters.reference import Reference

Edit = Callable[[onnx.GraphProto], None]


@pytest.fixture(scope="session")
def checkpoint(demo_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(demo_checkpoint)


@pytest.fixture(scope="session")
def reference(checkpoint: Checkpoint) -> Reference:
    return Reference(checkpoint)


@pytest.fixture
def bundle(demo_fp32: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo_fp32, tmp_path / "bundle"))


@pytest.fixture
def edited(bundle: Path, vouch: Callable[[Path, str], None]) -> Callable[[str, Edit], Path]:
    """edited("encoder", edit): the bundle after `edit` changed one of its graphs; its manifest vouches for the new file."""

    def change(name: str, edit: Edit) -> Path:
        path = bundle / f"{name}.onnx"
        model = onnx.load(path, load_external_data=False)
        edit(model.graph)
        onnx.save(model, path)
        vouch(bundle, path.name)
        return bundle

    return change


@pytest.fixture
def reweighed(bundle: Path, vouch: Callable[[Path, str], None]) -> Callable[[str, str, int, float], Path]:
    """reweighed("encoder", tensor, index, value): the bundle after one float of one weight in weights.bin was overwritten."""

    def change(name: str, tensor: str, index: int, value: float) -> Path:
        graph = onnx.load(bundle / f"{name}.onnx", load_external_data=False).graph
        place = {entry.key: entry.value for entry in next(one for one in graph.initializer if one.name == tensor).external_data}
        data = bytearray((bundle / place["location"]).read_bytes())
        at = int(place["offset"]) + 4 * index
        data[at : at + 4] = torch.tensor(value).numpy().tobytes()
        (bundle / place["location"]).write_bytes(data)
        vouch(bundle, place["location"])
        return bundle

    return change
