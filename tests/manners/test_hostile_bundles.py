"""Bundles damaged at random or made to do harm, with a manifest that vouches for them: one clear line each, never a crash."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

import zen_edge

FILES = ("encoder.onnx", "decoder.onnx", "reorder.onnx", "source.spm", "vocab.json")


def vouch(bundle: Path, name: str, data: bytes) -> None:
    """Replace a file, and say in the manifest that it is meant to be so."""
    (bundle / name).write_bytes(data)
    manifest = json.loads((bundle / "zen-edge.json").read_text())
    manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    (bundle / "zen-edge.json").write_text(json.dumps(manifest))


def attempt(bundle: Path) -> str | None:
    """The text of the error that loading and running end in, or None."""
    try:
        with zen_edge.load(bundle, threads=1) as pipeline:
            pipeline("simple tool", num_beams=2, max_new_tokens=4)
    except zen_edge.ZenEdgeError as error:
        return f"{type(error).__name__}: {error}"
    return None


def mutated(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 4, 30))):
        place = draw.randrange(len(changed))
        kind = draw.randrange(4)
        if kind == 0:
            changed[place] ^= 1 << draw.randrange(8)
        elif kind == 1:
            changed[place] = draw.randrange(256)
        elif kind == 2:
            del changed[place : place + draw.randrange(1, 20)]
        else:
            changed[place:place] = draw.randbytes(draw.randrange(1, 10))
    return bytes(changed)


def test_damage_that_the_manifest_vouches_for(demo_int8: Path, tmp_path: Path) -> None:
    draw = random.Random(7)
    errors = 0
    for _ in range(40):
        bundle = tmp_path / "bundle"
        shutil.copytree(demo_int8, bundle)
        name = draw.choice(FILES)
        vouch(bundle, name, mutated((bundle / name).read_bytes(), draw))
        error = attempt(bundle)
        assert error is None or "\n" not in error
        errors += error is not None
        shutil.rmtree(bundle)
    assert errors > 20  # the others changed a name or a spare byte


def test_weights_cut_short_or_flipped(demo_int8: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(demo_int8, bundle)
    weights = (bundle / "weights.bin").read_bytes()
    (bundle / "weights.bin").write_bytes(weights[:-100])
    assert "bytes instead of" in str(attempt(bundle))
    (bundle / "weights.bin").write_bytes(weights[:-100] + bytes(100))
    with pytest.raises(zen_edge.BundleError, match="sha256"):
        zen_edge.load(bundle, verify=True)
    vouch(bundle, "weights.bin", weights[:-100])
    assert "cannot be loaded" in str(attempt(bundle))


def _location(text: str) -> Callable[[onnx.TensorProto], None]:
    def edit(tensor: onnx.TensorProto) -> None:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = text

    return edit


def _offset(number: int) -> Callable[[onnx.TensorProto], None]:
    def edit(tensor: onnx.TensorProto) -> None:
        for entry in tensor.external_data:
            if entry.key == "offset":
                entry.value = str(number)

    return edit


def _huge(tensor: onnx.TensorProto) -> None:
    for axis in range(len(tensor.dims)):
        tensor.dims[axis] = 2**31


@pytest.mark.parametrize(
    "edit",
    [_location("../outside.bin"), _location("/etc/hostname"), _location("a/../../outside.bin"), _offset(10**12), _offset(-5), _huge],
    ids=["parent", "absolute", "roundabout", "offset beyond the end", "negative offset", "absurd shape"],
)
def test_weights_from_elsewhere_or_nowhere(edit: Callable[[onnx.TensorProto], None], demo_int8: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(demo_int8, bundle)
    shutil.copy(bundle / "weights.bin", tmp_path / "outside.bin")
    graph = onnx.load(bundle / "encoder.onnx", load_external_data=False)
    for tensor in graph.graph.initializer:
        if tensor.external_data:
            edit(tensor)
    vouch(bundle, "encoder.onnx", graph.SerializeToString())
    assert str(attempt(bundle)).startswith("BundleError: encoder.onnx cannot be loaded")


@pytest.mark.parametrize("harm", ["truncated graph", "missing file", "extra file", "newer format", "not json", "parent path"])
def test_the_command_line_says_it_in_one_line(harm: str, demo_int8: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(demo_int8, bundle)
    manifest = json.loads((bundle / "zen-edge.json").read_text())
    if harm == "truncated graph":
        (bundle / "decoder.onnx").write_bytes((bundle / "decoder.onnx").read_bytes()[:1000])
    elif harm == "missing file":
        (bundle / "vocab.json").unlink()
    elif harm == "extra file":
        (bundle / "run.py").write_text("print('no')")
    elif harm == "not json":
        (bundle / "zen-edge.json").write_bytes(b"\x80\x04pickle")
    else:
        if harm == "newer format":
            manifest["format"] = 99
        else:
            manifest["files"]["../evil"] = manifest["files"]["vocab.json"]
        (bundle / "zen-edge.json").write_text(json.dumps(manifest))
    done = subprocess.run(
        [sys.executable, "-m", "zen_edge", "run", str(bundle), "simple tool"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 3
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
