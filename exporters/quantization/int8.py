"""int8: symmetric int8 weights with one scale per output channel, activations quantized as they come, each row by its own largest number.

    x -> MatMul(W) -> Add(b) -> y      becomes    m = max |x| of each row;  x / m -> QuantizeLinear -> MatMulIntegerToFloat(W8, scale) -> Mul(m) -> Add(b) -> y
    x -> FusedMatMul(E, transB=1)      becomes    the same with Transpose(E8)
    ids -> Gather(E)                   becomes    Gather(E8, ids) * Gather(scale, ids)

A row's result is the same whatever is beside it: other inputs of a batch, beams, padding. What several products read is quantized once. ONNX Runtime's
DynamicQuantizeMatMul, one operator with one scale for all rows, takes a tenth less time (512 x 1536, one thread: 25 us for 29 of one row, 196 for 227 of 32; a translator's step 7 to
14 %), but 12 % of the lines of a translator and 20 % of a summarizer's had other words in a batch than alone, as many when only the encoder was quantized so, and one row with an outlier made all others coarse.

The embedding and a head tied to it share one table E8 (V,D) with one scale per word; it lies as the look-up needs it, and ONNX Runtime
transposes it once for the head when it loads. Weights reach +-127 at most. On processors whose 8-bit products saturate in 16 bits (x86 without
VNNI) the runtime asks ONNX Runtime for its exact kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from zen_edge.errors import CheckpointError
from zen_edge.exporters.fusions.edit import MICROSOFT, add_initializer, insert, replace
from zen_edge.exporters.quantization.lazily import add_made
from zen_edge.exporters.quantization.parts import Part
from zen_edge.exporters.quantization.products import Product

CHUNK = 2**22  # numbers at a time


def quantize(weight: np.ndarray[Any, Any], axis: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """weight (K,N) -> int8 of the same shape, and float32 scales along the other axis than `axis`, which is summed over in the product."""
    step = max(1, CHUNK // weight.shape[1])
    chunks = [slice(start, start + step) for start in range(0, len(weight), step)]
    most = [_most(weight[rows], axis) for rows in chunks]
    largest = np.concatenate(most) if axis == 1 else np.max(most, axis=0)
    scale = np.maximum(largest / 127, np.finfo(np.float32).tiny).astype(np.float32)
    table = np.empty(weight.shape, np.int8)
    for rows in chunks:
        spread = scale[rows, None] if axis == 1 else scale
        table[rows] = np.clip(np.rint(weight[rows] / spread), -127, 127)
    return table, scale


def _most(weight: np.ndarray[Any, Any], axis: int) -> np.ndarray[Any, Any]:
    require_finite(weight)
    return np.asarray(np.abs(weight).max(axis=axis))


def require_finite(weight: np.ndarray[Any, Any]) -> None:
    if not np.isfinite(weight).all():
        raise CheckpointError("a weight of the model is NaN or infinite and cannot be quantized; the checkpoint is damaged.")


def _quantized(graph: ir.Graph, weight: ir.Value, axis: int) -> tuple[ir.Value, ir.Value]:
    """The int8 table and scales of `weight`, made once for each axis however often they are asked for."""
    name, scale_name = (f"{weight.name}.{part}{'.rows' if axis else ''}" for part in ("int8", "scale"))
    if name not in graph.initializers:
        tensor = weight.const_value
        shape = [int(size) for size in tensor.shape]

        def make() -> tuple[np.ndarray[Any, Any], ...]:
            return quantize(tensor.numpy(), axis)

        add_made(graph, make, 1, scale_name, ir.DataType.FLOAT, shape[1 - axis : 2 - axis])
        add_made(graph, make, 0, name, ir.DataType.INT8, shape)
    return graph.initializers[name], graph.initializers[scale_name]


def _product(graph: ir.Graph, product: Product) -> None:
    node = product.node

    def number(name: str, value: Any) -> ir.Value:
        return add_initializer(graph, f"int8.{name}", np.asarray(value))

    table, scale = _quantized(graph, product.weight, 1 if product.turned else 0)
    if product.turned:
        (table,) = insert(node, "Transpose", [table], {"perm": [1, 0]})
    step, zero = number("step", np.float32(1 / 127)), number("zero", np.uint8(128))
    (size,) = insert(node, "Abs", [product.x])
    (most,) = insert(node, "ReduceMax", [size, number("last_axis", np.array([-1], np.int64))], {"keepdims": 1})  # (...,1)
    (part,) = insert(node, "Div", [product.x, most])  # not a number in a row of zeros; whatever whole number that becomes is multiplied by 0 below
    (whole,) = insert(node, "QuantizeLinear", [part, step, zero])
    (out,) = insert(node, "MatMulIntegerToFloat", [whole, table, step, scale, zero], domain=MICROSOFT)
    (out,) = insert(node, "Mul", [out, most])
    if product.bias is not None:
        (out,) = insert(node, "Add", [out, product.bias])
    replace(product.output, out)


def _look_up(graph: ir.Graph, node: ir.Node) -> None:
    """Gather of rows of an embedding as a gather of int8 rows and their scales."""
    rows, scale = _quantized(graph, node.inputs[0], 1)
    last = add_initializer(graph, "last_axis", np.array([-1], np.int64))
    (picked,) = insert(node, "Gather", [rows, node.inputs[1]])
    (number,) = insert(node, "Cast", [picked], {"to": ir.DataType.FLOAT})
    (factor,) = insert(node, "Gather", [scale, node.inputs[1]])
    (factor,) = insert(node, "Unsqueeze", [factor, last])
    (out,) = insert(node, "Mul", [number, factor])
    replace(node.outputs[0], out)


def apply(graph: ir.Graph, chosen: Sequence[Part], between: bool) -> int:
    """Quantize the parts in `chosen`, in place. Returns how many."""
    for part in chosen:
        if part.product is None:
            _look_up(graph, part.node)
        else:
            _product(graph, part.product)
    return len(chosen)
