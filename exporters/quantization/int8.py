"""int8: symmetric int8 weights with one scale per output channel, activations quantized as they come.

    x -> MatMul(W) -> Add(b) -> y      becomes    x -> DynamicQuantizeMatMul(W8, scale, b) -> y
    x -> FusedMatMul(E, transB=1)      becomes    x -> DynamicQuantizeMatMul(Transpose(E8), scale)
    ids -> Gather(E)                   becomes    Gather(E8, ids) * Gather(scale, ids)

What several products read is quantized once:

    x -> DynamicQuantizeMatMul(V8) -> v            x -> DynamicQuantizeLinear -> x8 -> MatMulIntegerToFloat(V8) -> v
      -> DynamicQuantizeMatMul(W8) -> w  becomes                                    -> MatMulIntegerToFloat(W8) -> w

The embedding and a head tied to it share one table E8 (V,D) with one scale per word; it lies as the look-up needs it, and ONNX Runtime
transposes it once for the head when it loads. Weights reach +-127 at most. On processors whose 8-bit products saturate in 16 bits (x86 without
VNNI) the runtime asks ONNX Runtime for its exact kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from zen_edge.errors import CheckpointError
from zen_edge.exporters.fusions.edit import MICROSOFT, add_initializer, constant, insert, only_use, replace

SMALLEST = 16  # a matrix with fewer rows or columns gains nothing


def quantize(weight: np.ndarray[Any, Any], axis: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """weight (K,N) -> int8 of the same shape, and float32 scales along the other axis than `axis`, which is summed over in the product."""
    if not np.isfinite(weight).all():
        raise CheckpointError("a weight of the model is NaN or infinite and cannot be quantized; the checkpoint is damaged.")
    scale = np.maximum(np.abs(weight).max(axis=axis) / 127, np.finfo(np.float32).tiny).astype(np.float32)
    spread = np.expand_dims(scale, axis)
    return np.clip(np.rint(weight / spread), -127, 127).astype(np.int8), scale


def _quantized(graph: ir.Graph, weight: ir.Value, axis: int) -> tuple[ir.Value, ir.Value]:
    """The int8 table and scales of `weight`, made once for each axis however often they are asked for."""
    name, scale_name = (f"{weight.name}.{part}{'.rows' if axis else ''}" for part in ("int8", "scale"))
    if name not in graph.initializers:
        table, scale = quantize(weight.const_value.numpy(), axis)
        add_initializer(graph, scale_name, scale)
        add_initializer(graph, name, table)
    return graph.initializers[name], graph.initializers[scale_name]


def _is_matrix(value: ir.Value | None) -> bool:
    tensor = constant(value)
    return tensor is not None and len(tensor.shape) == 2 and min(tensor.shape) >= SMALLEST and tensor.dtype == ir.DataType.FLOAT


def _bias(product: ir.Value, width: int) -> tuple[ir.Value | None, ir.Value]:
    """The constant vector added to `product`, and the value after the addition; (None, product) if there is none."""
    if only_use(product):
        (use,) = product.uses()
        other = use.node.inputs[1 - use.idx] if use.node.op_type == "Add" and not use.node.domain else None
        tensor = constant(other)
        if tensor is not None and tuple(tensor.shape) == (width,):
            return other, use.node.outputs[0]
    return None, product


def _product(graph: ir.Graph, node: ir.Node) -> bool:
    """MatMul, or FusedMatMul with its second factor transposed, as DynamicQuantizeMatMul."""
    weight = node.inputs[1]
    transposed = node.op_type == "FusedMatMul"
    plain = not node.attributes.get_int("transA", 0) and node.attributes.get_float("alpha", 1.0) == 1.0
    if not _is_matrix(weight) or not plain or (transposed and not node.attributes.get_int("transB", 0)):
        return False
    table, scale = _quantized(graph, weight, 1 if transposed else 0)
    bias, output = _bias(node.outputs[0], int(scale.shape[0]))
    if transposed:
        (table,) = insert(node, "Transpose", [table], {"perm": [1, 0]})
    inputs = [node.inputs[0], table, scale, None, *([bias] if bias is not None else [])]
    (out,) = insert(node, "DynamicQuantizeMatMul", inputs, domain=MICROSOFT)
    replace(output, out)
    return True


def _quantize_once(graph: ir.Graph) -> None:
    """The activations that several products read."""
    readers: dict[int, list[ir.Node]] = {}
    for node in graph:
        if node.op_type == "DynamicQuantizeMatMul":
            readers.setdefault(id(node.inputs[0]), []).append(node)
    for nodes in readers.values():
        if len(nodes) == 1:
            continue
        number, step, zero = insert(nodes[0], "DynamicQuantizeLinear", [nodes[0].inputs[0]], outputs=3)
        for node in nodes:
            _, table, scale, _, *bias = node.inputs
            (out,) = insert(node, "MatMulIntegerToFloat", [number, table, step, scale, zero, None, *bias], domain=MICROSOFT)
            replace(node.outputs[0], out)


def _look_up(graph: ir.Graph, node: ir.Node) -> bool:
    """Gather of rows of an embedding as a gather of int8 rows and their scales."""
    table = node.inputs[0]
    if not _is_matrix(table) or node.attributes.get_int("axis", 0) != 0:
        return False
    rows, scale = _quantized(graph, table, 1)
    last = add_initializer(graph, "last_axis", np.array([-1], np.int64))
    (picked,) = insert(node, "Gather", [rows, node.inputs[1]])
    (number,) = insert(node, "Cast", [picked], {"to": ir.DataType.FLOAT})
    (factor,) = insert(node, "Gather", [scale, node.inputs[1]])
    (factor,) = insert(node, "Unsqueeze", [factor, last])
    (out,) = insert(node, "Mul", [number, factor])
    replace(node.outputs[0], out)
    return True


def _is_word_table(node: ir.Node) -> bool:
    """Whether the rows are picked by a graph input: word embeddings are, tables of positions are not and stay exact."""
    return node.inputs[1].is_graph_input()


def apply(graph: ir.Graph) -> int:
    """Quantize every product with a constant matrix and every word embedding of `graph`. Returns how many."""
    made = 0
    for node in list(graph):
        if (node.op_type == "MatMul" and not node.domain) or (node.op_type == "FusedMatMul" and node.domain == MICROSOFT):
            made += _product(graph, node)
        elif node.op_type == "Gather" and not node.domain and _is_word_table(node):
            made += _look_up(graph, node)
    _quantize_once(graph)
    return made
