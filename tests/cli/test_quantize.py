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


MIXED = dict.fromkeys(GROUPS, "int8-blocks") | {"encoder.1": "int4", "embeddings": "int8", "cross-attention": "fp32", "feed-forward": "fp16"}


def test_a_recipe_from_a_file_and_from_the_bundle_that_it_made(zen, demo_fp32, tmp_path):
    (tmp_path / "mixed.json").write_text(json.dumps(MIXED), "utf-8")
    done = zen("quantize", demo_fp32, tmp_path / "out", "--recipe", tmp_path / "mixed.json")
    assert done.exit_code == 0, done.stderr
    manifest = read_manifest(tmp_path / "out", hashes=True)
    assert (manifest.recipe, manifest.precision) == (MIXED, "int4")
    (graph,) = (graph for graph in manifest.graphs if graph.name == "encoder")
    assert {"MatMulNBits", "Gather", "MatMul"} <= set(graph.ops)
    assert zen("quantize", demo_fp32, tmp_path / "again", "--recipe", tmp_path / "out", "--no-verify").exit_code == 0
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


NO_RECIPES = {
    "not there": (None, "cannot be read: No such file"),
    "empty": ("", "is not valid JSON"),
    "cut off": (json.dumps(MIXED)[:40], "is not valid JSON"),
    "a list": ('["int8"]', "should be an object and is a list of 1 items"),
    "NaN": (json.dumps(MIXED | {"encoder": float("nan")}), "NaN is not a JSON number"),
    "a precision that is a list": (json.dumps(MIXED | {"encoder": ["int8"]}), "recipe.json.encoder should be a line"),
    "a precision of another kind": (json.dumps(MIXED | {"encoder": "int2"}), "precision 'int2' of encoder is not known"),
    "a part that there is none of": (json.dumps(MIXED | {"decoder": "int8"}), "a recipe has no part 'decoder'"),
    "a tensor": (json.dumps(MIXED | {"model.shared.weight": "int8"}), "a recipe has no part 'model.shared.weight'"),
    "a part told twice": ('{"encoder": "int8", "encoder": "int4"}', "a key is written twice"),
    "not all parts": ('{"encoder": "int8"}', "says nothing of embeddings"),
    "a layer of another model": (
        json.dumps(MIXED | {"encoder.11": "int8"}),
        "of another model: the bundle has no encoder.11; its layers are cross-attention.0,",
    ),
    "nothing to change": (json.dumps(dict.fromkeys(GROUPS, "fp32")), "nothing would change"),
    "line breaks": (json.dumps(MIXED | {"a\nb": "int8"}), "a recipe has no part"),
}


@pytest.mark.parametrize(("text", "message"), NO_RECIPES.values(), ids=NO_RECIPES)
def test_what_is_no_recipe_is_told_in_one_line(zen, demo_fp32, tmp_path, text, message):
    if text is not None:
        (tmp_path / "recipe.json").write_text(text, "utf-8")
    before = sorted(tmp_path.iterdir())
    done = zen("quantize", demo_fp32, tmp_path / "new" / "out", "--recipe", tmp_path / "recipe.json")
    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert message in done.stderr
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("other", [("--precision", "int8"), ("--budget", "chrf=1", "--inputs", "x.jsonl")], ids=str)
def test_a_recipe_goes_with_nothing_else_that_chooses(zen, demo_fp32, tmp_path, other):
    assert zen("quantize", demo_fp32, tmp_path / "out", "--recipe", demo_fp32, *other).exit_code == 2


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
