"""Precisions: what the weights of a fused graph become. One scheme, one module; `SCHEMES` names them as the command line does."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import onnx_ir.passes.common as passes

from zen_edge.exporters.quantization import fp32, int8

SCHEMES: dict[str, Callable[[ir.Graph], int]] = {"fp32": fp32.apply, "int8": int8.apply}


def quantize(model: ir.Model, precision: str) -> int:
    """Turn the weights of `model`, in place, into what `precision` asks for. Returns how many were."""
    made = SCHEMES[precision](model.graph)
    passes.RemoveUnusedNodesPass()(model)
    passes.TopologicalSortPass()(model)
    return made
