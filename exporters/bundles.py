"""A bundle in other precisions, made from an fp32 bundle. Needs onnx and onnx-ir, and no torch."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import onnx_ir as ir

from zen_edge.attention_map import attention_file
from zen_edge.bundle import Bundle
from zen_edge.checked import quoted
from zen_edge.errors import BundleError, UnsupportedModelError
from zen_edge.exporters.attention_outputs import save_attention_outputs
from zen_edge.exporters.fixed_step import save_fixed_step
from zen_edge.exporters.halved import IN_BLOCKS, Largest, is_halved, tell_largest
from zen_edge.exporters.quantization import quantize
from zen_edge.exporters.quantization.products import in_other_precisions
from zen_edge.exporters.weights import save_graphs
from zen_edge.inspection import describe_graph, describe_recorded
from zen_edge.manifest import GROW, STEP, Manifest, describe_files, read_manifest, write_manifest
from zen_edge.recipe import Recipe

__all__ = ["is_halved", "quantize_bundle", "require_fp32"]
MADE_WITH = ("zen-edge", "onnx", "onnx-ir")
DATA = "weights.bin"


def require_fp32(bundle: Path) -> Manifest:
    """The manifest of a bundle that can be quantized. UnsupportedModelError for one that is quantized already, BundleError for one that does not say so."""
    manifest = read_manifest(bundle, hashes=True)
    if manifest.precision != "fp32":
        raise UnsupportedModelError(
            f"{quoted(str(bundle))} is in {manifest.precision} already, and what was rounded away does not come back: give the bundle exported in fp32."
        )
    for graph in manifest.graphs:
        if reduced := in_other_precisions(ir.load(bundle / graph.file).graph):
            raise BundleError(
                f"bundle {quoted(str(bundle))}: its manifest says fp32, and {quoted(graph.file)} has weights for {reduced} in another precision: export the bundle again"
            )
    return manifest


def quantize_bundle(bundle: Path, folder: Path, recipe: Recipe, tell: Callable[[str], None], largest: Largest | None = None) -> Bundle:
    """Write into `folder`, which is there and empty, what `bundle` holds with its weights as `recipe` says. The same input gives the same bytes.

    largest: how large the numbers in its graphs become, for half precision; what was exported for CUDA then has activations in it where all weights are in blocks.
    """
    manifest = require_fp32(bundle)
    # What extends a graph by its attention goes by values inside it, and is made anew.
    files = {graph.file for graph in manifest.graphs} | {attention_file(graph.name) for graph in manifest.graphs} | {DATA, STEP, GROW}
    for name in manifest.files:
        if name not in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle / name, folder / name)
    tell(f"quantize to {recipe.precision}")
    models = {graph.name: ir.load(bundle / graph.file) for graph in manifest.graphs}
    half = manifest.device == "cuda" and set(recipe.parts.values()) <= {recipe.precision} <= set(IN_BLOCKS)
    activations = {}
    for name, model in models.items():
        measured = None if largest is None else largest.get(name, {})
        if measured and (half or "fp16" in recipe.parts.values()):
            activations[name] = tell_largest(model.graph, measured)
        quantize(model, recipe, measured, half)
    tell("write the graphs")
    save_graphs(models, folder)
    if STEP in manifest.files:
        save_fixed_step(folder)
    if any(attention_file(name) in manifest.files for name in models):
        save_attention_outputs(folder, list(models), manifest.model_type)
    made = replace(
        manifest,
        precision=recipe.precision,
        recipe=dict(recipe.parts),
        graphs=tuple(describe_graph(folder / graph.file, graph.name) for graph in manifest.graphs),
        files=describe_files(folder),
        made_with=manifest.made_with | {name: version(name) for name in MADE_WITH},
        parity=None,
        activations=activations,
        recorded=describe_recorded(folder),
    )
    write_manifest(folder, made)
    return Bundle(folder, made)
