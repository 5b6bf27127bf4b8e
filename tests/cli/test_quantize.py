"""zen-edge quantize: an fp32 bundle in other precisions, without torch, the same bytes every time, and nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zen_edge import activations
from zen_edge.exporters.bundles import quantize_bundle
from zen_edge.manifest import read_manifest
from zen_edge.recipe import GROUPS, Recipe

SMALLER = {"fp16": 0.52, "int8": 0.28, "int8-blocks": 0.29, "int4": 0.19}  # of the weights
WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "onnxscript", "safetensors"):
            raise ImportError(f"{name} may not be imported here")

sys.meta_path.insert(0, Refuse())
from zen_edge.cli import main
main()
"""


def size(bundle: Path) -> int:
    return (bundle / "weights.bin").stat().st_size


def test_without_torch(demo_fp32, tmp_path):
    """The whole command, verification included, in an interpreter where torch cannot be imported; what it makes answers there too."""
    command = [sys.executable, "-c", WITHOUT_TORCH]
    done = subprocess.run(
        [*command, "quantize", str(demo_fp32), str(tmp_path / "out"), "--precision", "int4"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "verify against the fp32 bundle" in done.stderr
    manifest = read_manifest(tmp_path / "out", hashes=True)
    assert (manifest.precision, manifest.recipe, manifest.parity) == ("int4", dict.fromkeys(GROUPS, "int4"), None)
    said = subprocess.run(
        [*command, "run", str(tmp_path / "out"), "simple game"], capture_output=True, text=True, timeout=300, check=False, env=os.environ
    )
    assert said.stdout == "jeu simple\n", said.stderr


@pytest.mark.parametrize("precision", SMALLER)
def test_every_precision(zen, demo_fp32, tmp_path, precision):
    """Verified, small, the same bytes as an export's, and the same bytes again."""
    done = zen("quantize", demo_fp32, tmp_path / "out", "--precision", precision)
    assert (done.exit_code, done.stdout) == (0, ""), done.stderr
    assert size(tmp_path / "out") < SMALLER[precision] * size(demo_fp32)
    assert zen("run", tmp_path / "out", "simple game").stdout == "jeu simple\n"
    (tmp_path / "again").mkdir()
    largest = activations.measure(demo_fp32) if precision == "fp16" else None
    quantize_bundle(demo_fp32, tmp_path / "again", Recipe.uniform(precision), lambda step: None, largest)
    assert (read_manifest(tmp_path / "again").activations != {}) == (precision == "fp16")
    for path in sorted((tmp_path / "out").iterdir()):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_an_export_quantizes_to_the_same(zen, demo_fp32, demo_int8, tmp_path):
    """Other tests quantize what they would trace a second time."""
    zen("quantize", demo_fp32, tmp_path / "out", "--precision", "int8", "--no-verify")
    assert (tmp_path / "out" / "weights.bin").read_bytes() == (demo_int8 / "weights.bin").read_bytes()
    ours, exported = (read_manifest(folder).graphs for folder in (tmp_path / "out", demo_int8))
    assert [(graph.name, graph.inputs, graph.outputs, graph.nodes) for graph in ours] == [
        (graph.name, graph.inputs, graph.outputs, graph.nodes) for graph in exported
    ]


def test_keys_and_values_in_half_precision_decode_as_in_single(zen, demo_fp32, tmp_path):
    """Greedy and with beams, in batches, past tokens and cut drafts included."""
    import zen_edge

    zen_edge.quantize(demo_fp32, tmp_path / "out", precision="fp16")
    inputs = {tensor.name: tensor.dtype for tensor in read_manifest(tmp_path / "out").graph("decoder").inputs}
    assert {inputs["past_key_0"], inputs["cross_value_1"]} == {"float16"}
    lines = ["simple game with cards", "library of tools for reading text files", "documentation"]
    for options in ({}, {"num_beams": 4}):
        assert zen_edge.load(tmp_path / "out")(lines, **options) == zen_edge.load(demo_fp32)(lines, **options)


def test_what_is_refused(zen, demo_fp32, demo_int8, tmp_path):
    for arguments, status, message in (
        ((demo_fp32, "--precision", "int9"), 1, "no precision 'int9': choose one of fp16, int8-blocks, int8, int4."),
        ((demo_int8,), 1, "is in int8 already, and what was rounded away does not come back: give the bundle exported in fp32."),
        ((tmp_path / "none",), 3, "give the folder that `zen-edge export` wrote"),
    ):
        bundle, *options = arguments
        done = zen("quantize", bundle, tmp_path / "new" / "out", *options)
        assert (done.exit_code, done.stdout) == (status, "")
        assert message in done.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("precision", ["fp16", "int8", "int8-blocks", "int4"])
def test_a_manifest_that_lies_about_the_weights_is_refused(zen, demo_fp32, tmp_path, precision):
    lying = tmp_path / "lying"
    assert zen("quantize", demo_fp32, lying, "--precision", precision, "--no-verify").exit_code == 0
    manifest = json.loads((lying / "zen-edge.json").read_text())
    (lying / "zen-edge.json").write_text(json.dumps(manifest | {"precision": "fp32", "recipe": dict.fromkeys(GROUPS, "fp32")}))
    done = zen("quantize", lying, tmp_path / "out", "--precision", "int4")
    assert (done.exit_code, done.stdout) == (3, "")
    assert "its manifest says fp32, and 'encoder.onnx' has weights for" in done.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["lying"]


def test_weights_that_are_no_numbers_are_refused_and_nothing_stays(zen, demo_fp32, tmp_path):
    import shutil

    import numpy as np

    broken = shutil.copytree(demo_fp32, tmp_path / "broken")
    weights = np.fromfile(broken / "weights.bin", np.float32)
    weights[: len(weights) // 2] = np.nan
    weights.tofile(broken / "weights.bin")
    assert "was changed since the export" in zen("quantize", broken, tmp_path / "out").stderr
    manifest = json.loads((broken / "zen-edge.json").read_text())
    import hashlib

    manifest["files"]["weights.bin"]["sha256"] = hashlib.sha256((broken / "weights.bin").read_bytes()).hexdigest()
    (broken / "zen-edge.json").write_text(json.dumps(manifest))
    done = zen("quantize", broken, tmp_path / "out")
    assert done.exit_code == 1
    assert "NaN or infinite" in done.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]
