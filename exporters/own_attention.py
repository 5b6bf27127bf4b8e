"""Which nodes of a graph of one's own are attention, and what they attend from and to.

An operator has queries and keys; what stayed written out has a softmax, whose axis is that of the keys. A softmax counts where its scores are a product of two activations and it
weighs the rows of another, or where it runs over an axis that is free: additive attention, pooling, pointers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import onnx
from onnx import helper

from zen_edge.attention import PRODUCT, unfused
from zen_edge.exporters.attention_weights import KEY, QUERY, Size, of_operator, of_softmax
from zen_edge.graphs import flatten

Shapes = dict[str, list[Size]]
ROWS, SOURCE = "R", "T"  # of a step's inputs, as `seq2seq_graphs` names them
MOVES = {"Reshape", "Transpose", "Unsqueeze", "Squeeze", "Cast", "Identity", "Where"}  # between weights and their product with the values


@dataclass(frozen=True)
class Attention:
    """shape: (B,N,S,T) of its weights. perm, apart: of a softmax, as `attention_weights.of_softmax` takes them."""

    node: onnx.NodeProto
    shape: tuple[Size, ...]
    perm: tuple[int, ...] = ()
    apart: tuple[int, ...] = ()

    def add(self, graph: onnx.GraphProto, name: str) -> None:
        if self.node.op_type == "Softmax":
            of_softmax(graph, self.node.output[0], name, self.perm, self.apart, self.shape[1])
        else:
            of_operator(graph, self.node, name, guarded=True)


def of_module(model: onnx.ModelProto, what: str) -> onnx.ModelProto | None:
    """What extends the graph of a module by its weights, "self" where queries and keys have one length, otherwise "cross"; None where it does not attend."""
    found = list(_found(model))
    return _extension([("self" if one.shape[2] == one.shape[3] else "cross", one) for one in found])


def of_seq2seq(model: onnx.ModelProto, what: str) -> onnx.ModelProto | None:
    """Of a Seq2Seq's encoder, what attends from source to source, "encoder"; of its step, what attends from a row's one query to its source, "cross"."""
    if model.graph.name == "decoder":
        found = [("cross", _of_row(one)) for one in _found(model) if one.shape[3] == SOURCE and ROWS in one.shape]
    else:
        found = [("encoder", one) for one in _found(model) if one.shape[2:] == (SOURCE, SOURCE)]
    return _extension(found)


def _of_row(one: Attention) -> Attention:
    """A row has one query: what else a softmax has are heads."""
    rows, *others = (size for size in one.shape[:3] if size != 1)
    return one if not one.perm else replace(one, shape=(rows, *(others or (1,)), 1, SOURCE), apart={2: (1, 2), 3: (2,)}.get(len(one.perm), one.apart))


def _extension(found: Sequence[tuple[str, Attention]]) -> onnx.ModelProto | None:
    """Layers of a kind are those that have as many heads, queries and keys; others are a kind of their own, "cross-2"."""
    part, shapes, count = onnx.ModelProto(), dict[str, list[tuple[Size, ...]]](), dict[str, int]()
    for kind, one in found:
        known = shapes.setdefault(kind, [])
        if one.shape not in known:
            known.append(one.shape)
        place = known.index(one.shape)
        name = kind if place == 0 else f"{kind}-{place + 1}"
        count[name] = count.get(name, -1) + 1
        one.add(part.graph, f"{name}_attention_{count[name]}")
    return part if found else None


def _found(model: onnx.ModelProto) -> Iterator[Attention]:
    shapes = _shapes(model.graph)
    written_out = {node.outputs[0] for node in unfused(flatten(model))}
    for node in model.graph.node:
        if node.op_type == "MultiHeadAttention":
            queries, keys = (shapes.get(node.input[place], ["?", "?", "?"]) for place in (QUERY, KEY))
            heads = next(attribute.i for attribute in node.attribute if attribute.name == "num_heads")
            yield Attention(node, (queries[0], heads, queries[1], keys[1]))
        elif node.op_type == "Softmax" and (shape := shapes.get(node.output[0])):
            axis = next((helper.get_attribute_value(one) for one in node.attribute if one.name == "axis"), -1) % len(shape)
            if node.output[0] in written_out or isinstance(shape[axis], str):
                yield _of_softmax(model.graph, shapes, node, shape, axis)


def _shapes(graph: onnx.GraphProto) -> Shapes:
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim] for value in values}


def _of_softmax(graph: onnx.GraphProto, shapes: Shapes, node: onnx.NodeProto, shape: list[Size], axis: int) -> Attention:
    perm = (*(other for other in range(len(shape)) if other != axis), axis)
    sizes = [shape[other] for other in perm]
    apart: tuple[int, ...] = ()
    if len(sizes) == 1:
        apart = (0, 1, 2)
    elif len(sizes) == 2:  # rows of one query each, or queries of one row
        apart = (0, 1) if _meets_matrix(graph, shapes, node.output[0]) else (1, 2)
    elif len(sizes) == 3:
        apart = (1,)
    for place in apart:
        sizes.insert(place, 1)
    return Attention(node, ("?" if len(sizes) > 4 else sizes[-4], *sizes[-3:]), perm, apart)


def _meets_matrix(graph: onnx.GraphProto, shapes: Shapes, weights: str) -> bool:
    """Whether a matrix of weights is multiplied with a matrix of values as it is."""
    waiting = [weights]
    while waiting:
        value = waiting.pop()
        for node in graph.node:
            if value in node.input and node.op_type in PRODUCT:
                return len(shapes.get(value, ())) == 2
            if value in node.input and node.op_type in MOVES:
                waiting.extend(node.output)
    return False
