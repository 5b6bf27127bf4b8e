"""Project once what is projected several times from the same input.

    before:  x -> MatMul(Wq) -> Add(bq) -> q          after:  x -> MatMul([Wq Wk Wv]) -> Add([bq bk bv]) -> Split -> q, k, v
             x -> MatMul(Wk) -> Add(bk) -> k
             x -> MatMul(Wv) -> Add(bv) -> v

Queries, keys and values of self-attention share their input. In a decoding step, which has few rows, one wide product takes less time than three.
Graphs that read whole inputs are left alone: there the products take as long apart, and splitting is a copy of all that they say (int8 encoder of
BART-base: 8 % of 8 x 512 tokens, level at 24 tokens).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import numpy as np
import onnx_ir as ir

from zen_edge.exporters.fusions.edit import add_initializer, constant, insert, is_step, only_use, replace


@dataclass(frozen=True)
class Projection:
    """x (...,K) times weight (K,N), plus bias (N,) if there is one. output: what the rest of the graph reads."""

    product: ir.Node
    weight: ir.Value
    bias: ir.Value | None
    output: ir.Value


def check(node: ir.Node) -> Projection | None:
    """`node` as a projection: a product with a constant matrix, its bias taken along if nothing else reads the product."""
    if node.op_type != "MatMul" or node.domain:
        return None
    weight = constant(node.inputs[1])
    if weight is None or len(weight.shape) != 2 or constant(node.inputs[0]) is not None:
        return None
    product = node.outputs[0]
    if only_use(product):
        (use,) = product.uses()
        if use.node.op_type == "Add" and not use.node.domain:
            other = use.node.inputs[1 - use.idx]
            bias = constant(other)
            if bias is not None and tuple(bias.shape) == (weight.shape[1],):
                return Projection(node, node.inputs[1], other, use.node.outputs[0])
    return Projection(node, node.inputs[1], None, product)


def _free_name(graph: ir.Graph, name: str) -> str:
    """`name`, or with a number where another group that begins with the same shared weight has it."""
    numbered = (f"{name}.{i}" for i in count(2))
    return name if name not in graph.initializers else next(one for one in numbered if one not in graph.initializers)


def _pack(graph: ir.Graph, group: list[Projection]) -> None:
    first = group[0]
    name = _free_name(graph, f"{first.weight.name}.packed")
    tensors = [p.weight.const_value for p in group]
    widths = [int(tensor.shape[1]) for tensor in tensors]
    rows, dtype = int(tensors[0].shape[0]), tensors[0].dtype

    def weights() -> ir.TensorProtocol:
        return ir.tensor(np.concatenate([tensor.numpy() for tensor in tensors], axis=1), name=name)

    # Joined when it is read, so that the whole model is not held twice.
    packed = add_initializer(graph, name, ir.LazyTensor(weights, dtype, ir.Shape((rows, sum(widths))), name=name))
    (out,) = insert(first.product, "MatMul", [first.product.inputs[0], packed])
    leading = list(first.output.shape[:-1]) if first.output.shape is not None else None
    out.type = first.output.type
    if leading is not None:
        out.shape = ir.Shape([*leading, sum(widths)])
    if any(p.bias is not None for p in group):
        numpy_type = tensors[0].dtype.numpy()
        biases = [np.zeros(w, numpy_type) if p.bias is None else p.bias.const_value.numpy() for p, w in zip(group, widths, strict=True)]
        summed = insert(first.product, "Add", [out, add_initializer(graph, f"{name}.bias", np.concatenate(biases))])[0]
        summed.shape, summed.type = out.shape, out.type
        out = summed
    sizes = add_initializer(graph, f"{name}.sizes", np.array(widths, np.int64))
    parts = insert(first.product, "Split", [out, sizes], {"axis": -1}, outputs=len(group))
    for projection, part in zip(group, parts, strict=True):
        replace(projection.output, part)


def apply(graph: ir.Graph) -> int:
    if not is_step(graph):
        return 0
    groups: dict[int, list[Projection]] = {}
    for node in graph:
        projection = check(node)
        if projection is not None:
            groups.setdefault(id(node.inputs[0]), []).append(projection)
    made = 0
    for group in groups.values():
        same = [p for p in group if p.weight.shape[0] == group[0].weight.shape[0] and not p.output.is_graph_output()]
        if len(same) > 1:
            _pack(graph, same)
            made += 1
    return made
