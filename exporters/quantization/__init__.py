"""Precisions: what the weights of a fused graph become. One scheme, one module; `SCHEMES` names them as the command line does.

Needs onnx-ir and numpy alone, so that a bundle can be quantized where there is no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import onnx_ir as ir
import onnx_ir.passes.common as passes

from zen_edge.exporters.quantization import fp16, fp32, int4, int8, int8_blocks
from zen_edge.exporters.quantization.blocks import OPERATORS
from zen_edge.exporters.quantization.parts import Part, parts
from zen_edge.recipe import Recipe

SCHEMES: dict[str, Callable[[ir.Graph, Sequence[Part], bool], int]] = {
    "fp32": fp32.apply,
    "fp16": fp16.apply,
    "int8": int8.apply,
    "int8-blocks": int8_blocks.apply,
    "int4": int4.apply,
}


def quantize(model: ir.Model, recipe: Recipe | str, largest: Mapping[str, float] | None = None, half: bool = False) -> int:
    """Turn the weights of `model`, in place, into what `recipe` asks for, or all of them to one precision. Returns how many were.

    largest: the largest number that was measured in each value of the graph; what comes near the end of half precision stays single. half: what weights in blocks
    are multiplied with, and what lies between, in half precision too, as far as was measured.
    """
    recipe = Recipe.uniform(recipe) if isinstance(recipe, str) else recipe
    found: dict[str, list[Part]] = {name: [] for name in SCHEMES}
    for part in parts(model.graph):
        found[recipe.precision_of(part.group, part.layer)].append(part)
    schemes = SCHEMES if largest is None else SCHEMES | {"fp16": partial(fp16.apply, largest=largest)}
    made = sum(apply(model.graph, found[name], recipe.is_half) for name, apply in schemes.items())
    if half and largest is not None:
        in_blocks = [Part("", None, node, None) for node in model.graph if node.op_type in OPERATORS]
        fp16.apply(model.graph, in_blocks, True, largest)
    if made:
        model.opset_imports.setdefault("com.microsoft", 1)
        passes.CommonSubexpressionEliminationPass()(model)  # an input of several products is quantized once
    passes.RemoveUnusedNodesPass()(model)
    passes.TopologicalSortPass()(model)
    return made
