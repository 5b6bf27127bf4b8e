"""fp16: weights, products, attention and what lies between them in half precision; sums along the layers, normalizations and softmax in single.

    x -> MatMul(W) -> Add(b) -> Gelu -> MatMul(V) -> Add(x) -> LayerNormalization
    x -> Cast(half) -> MatMul(W16) -> Add(b16) -> Gelu -> MatMul(V16) -> Cast(single) -> Add(x) -> LayerNormalization

The sums over all layers, which grow beyond 65,504 in some models, never leave single precision, and scores that leave the graph do not either. Masks: a key that may not
be seen is the least finite half, and a bias is held above half of that before it is added, so that no sum is infinite. Keys and values between the graphs are half, unless
another precision has either kind of attention. Convolutions stay single.

What would overflow stays single, as far as is measured: every value that came within an eighth of the largest half on the inputs that an export is checked on. Where nothing was
measured, it is the last product of each feed-forward part in models with nothing but root-mean-square normalization, which are known for it.

On a CPU ONNX Runtime has no half kernels for most of it and puts casts around: right, and slower than fp32. It is made for GPUs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from zen_edge.exporters.fusions.edit import add_initializer, constant
from zen_edge.exporters.quantization.parts import ATTENTION, Part, bodies
from zen_edge.exporters.quantization.products import Product

HALF, SINGLE = ir.DataType.FLOAT16, ir.DataType.FLOAT
LEAST = float(np.finfo(np.float16).min)
HEADROOM = 8  # how much larger than what was measured another input's numbers may be
BETWEEN = ("past_", "cross_key_", "cross_value_", "present_", "moved_")  # names of what goes from graph to graph
MOVES = {"Split", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Expand", "Identity", "Gather"}
SIZED = {"Shape", "Size"}  # what reads no number, so that either precision will do
BENDS = {"Relu", "Gelu", "QuickGelu", "FastGelu", "Tanh", "Sigmoid", "Erf"}
WITH_CONSTANT = {"Add", "Mul"}
IN_BLOCKS = {"MatMulNBits": {0, 2, 5}, "GatherBlockQuantized": {2}}  # activations, scales and bias
BIAS, MASK = 5, 4  # their places among the inputs of MultiHeadAttention


def apply(graph: ir.Graph, chosen: Sequence[Part], between: bool, largest: Mapping[str, float] | None = None) -> int:
    """Turn the parts in `chosen`, and what lies between them, to half precision in place; `between`: keys and values between the graphs too. largest: of each
    value that was measured. Returns how many parts were."""
    if largest is None:
        wide: set[ir.Node] = {part.node for part in chosen if part.product is not None and _overflows(graph, part.product)}
    else:
        wide = {node for node in _all(graph) if is_wide(node, largest)}
    some = [part for part in chosen if part.node not in wide and (part.product is None or part.product.output.producer() not in wide)]
    outside = {value for value in (*graph.inputs, *graph.outputs) if between and (value.name or "").startswith(BETWEEN)}
    nodes = _halves(graph, {part.node for part in some}, outside, wide)
    if not nodes and not outside:
        return 0
    made_half = {output for node in nodes for output in node.outputs} | {value for value in outside if value.is_graph_input()}
    casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
    for node in list(_all(graph)):
        for i, value in enumerate(node.inputs):
            if value is None or node.op_type == "If":
                continue
            if node in nodes and i in _floats(node) and value not in made_half:
                node.replace_input_with(i, _as_half(graph, value, casts, limited=node.op_type in ATTENTION and i == BIAS))
            elif node not in nodes and value in made_half and node.op_type not in SIZED:
                node.replace_input_with(i, _cast(graph, value, SINGLE, casts))
        if node in nodes and node.op_type == "MultiHeadAttention":
            node.attributes["mask_filter_value"] = ir.AttrFloat32("mask_filter_value", LEAST)
    for value in made_half:
        value.type = ir.TensorType(HALF)
    for i, value in enumerate(graph.outputs):
        wanted, name = HALF if value in outside else SINGLE, value.name
        if value.dtype in (HALF, SINGLE) and (value in made_half) != (wanted == HALF):
            graph.outputs[i] = found = _cast(graph, value, wanted, {})
            value.name, found.name, found.shape = f"{name}.{'half' if wanted == SINGLE else 'single'}", name, value.shape
    return len(some)


def _all(graph: ir.Graph) -> Iterator[ir.Node]:
    """The nodes of `graph` in order, those of branches before the node that holds them."""
    for node in graph:
        for body in bodies(node):
            yield from _all(body)
        yield node


def is_wide(node: ir.Node, largest: Mapping[str, float]) -> bool:
    """Whether what `node` computes, or computes with, came near the end of half precision."""
    read = [value for i, value in enumerate(node.inputs) if not (node.op_type in ATTENTION and i == BIAS)]  # a bias is held above the least half
    return any(largest.get(value.name or "", 0.0) > -LEAST / HEADROOM for value in (*read, *node.outputs) if value is not None)


def _overflows(graph: ir.Graph, product: Product) -> bool:
    kinds = {node.op_type for node in graph}
    if "LayerNormalization" in kinds or not kinds & {"RMSNormalization", "SimplifiedLayerNormalization"}:
        return False
    K, N = product.sizes
    return product.bias is None and K > N


def _halves(graph: ir.Graph, chosen: set[ir.Node], outside: set[ir.Value], wide: set[ir.Node]) -> set[ir.Node]:
    """The nodes that work in half precision: those chosen, and what reads nothing but halves and is not `wide`."""
    found = set(chosen)
    half = {value for value in outside if value.is_graph_input()}
    for node in _all(graph):
        if node not in found:
            data = [value for i, value in enumerate(node.inputs) if value is not None and i in _floats(node)]
            computed = [value for value in data if constant(value) is None]
            if node.op_type in ATTENTION:
                follows = bool(data) and data[0] in half
            elif node.op_type in MOVES or node.op_type in BENDS:
                follows = bool(computed) and computed[0] in half
            else:
                follows = node.op_type in WITH_CONSTANT and len(computed) == 1 < len(data) and computed[0] in half
            if node.op_type == "If":
                inner = [output for body in bodies(node) for output in body.outputs]
                follows = bool(inner) and half.issuperset(inner)
            if not follows or node in wide:
                continue
        found.add(node)
        half.update(node.outputs)
    return found


def _floats(node: ir.Node) -> set[int]:
    """Places of the inputs that have the type of the output."""
    if node.op_type == "MultiHeadAttention":
        return {*range(8)} - {MASK}
    if node.op_type in ATTENTION:
        return {0, 1, 2, 4, 5} | ({3} if node.inputs[3:4] and node.inputs[3].dtype == SINGLE else set())
    if node.op_type in IN_BLOCKS:
        return IN_BLOCKS[node.op_type]
    return {0, 1} if node.op_type in (*WITH_CONSTANT, "MatMul", "FusedMatMul") else {0}


def _as_half(graph: ir.Graph, value: ir.Value, casts: dict[tuple[ir.Value, ir.DataType], ir.Value], limited: bool) -> ir.Value:
    tensor = constant(value)
    if tensor is None:
        return _cast(graph, value, HALF, casts, limited)
    name, least = f"{value.name}.half", LEAST / 2 if limited else LEAST

    def halved() -> ir.TensorProtocol:
        return ir.tensor(np.clip(tensor.numpy(), least, -LEAST).astype(np.float16), name=name)

    return add_initializer(graph, name, ir.LazyTensor(halved, HALF, ir.Shape(tensor.shape), name=name))


def _cast(
    graph: ir.Graph, value: ir.Value, dtype: ir.DataType, casts: dict[tuple[ir.Value, ir.DataType], ir.Value], limited: bool = False
) -> ir.Value:
    """`value` in `dtype`, once however often it is asked for."""
    if (value, dtype) in casts:
        return casts[value, dtype]
    nodes, source = [], value
    if limited:
        nodes.append(ir.node("Max", [source, add_initializer(graph, "fp16.least", np.array(LEAST / 2, np.float32))]))
        source = nodes[-1].outputs[0]
    nodes.append(ir.node("Cast", [source], {"to": dtype}))
    found = nodes[-1].outputs[0]
    found.type, found.shape = ir.TensorType(dtype), value.shape
    maker = value.producer()
    if maker is None:
        graph.insert_before(graph[0], nodes)
    else:
        maker.graph.insert_after(maker, nodes)
    casts[value, dtype] = found
    return found
