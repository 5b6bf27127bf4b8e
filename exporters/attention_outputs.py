"""The weights of attention as outputs of a graph, in a file of their own beside it.

    the graph:  ... q, k, v, seen -> MultiHeadAttention -> ...
    the file:   q, k -> Reshape, Transpose -> MatMul -> Mul(scale) (-> Add(bias)) (-> Where(seen)) (-> Where(not later)) -> Softmax -> weights (B,N,S,T)

The file is an ONNX model of these nodes and outputs alone. Two protocol buffers of a kind, one after the other, read as one in which lists are joined: the graph's
bytes and the file's are the graph with its attention. So the graph that answers stays as it was, byte for byte, no weight is stored twice, and what attention is
computed from is what that graph computes, in any precision.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from zen_edge.attention import unfused
from zen_edge.attention_map import attention_file
from zen_edge.errors import UnsupportedModelError
from zen_edge.graphs import flatten, load

KEYS = {"past_key_": "decoder", "cross_key_": "cross"}  # inputs that a decoder's keys come from, and the kind of attention to them
LAYOUT = {"Concat", "Reshape", "Expand", "Transpose", "Unsqueeze", "Tile", "Cast", "Identity"}
QUERY, KEY, PADDING, BIAS, PAST_KEY = 0, 1, 4, 5, 6  # places among the operator's inputs


def save_attention_outputs(folder: Path, graphs: Sequence[str], model_type: str) -> None:
    """Writes the files for those graphs of the bundle in `folder` that attend to tokens: outputs `{kind}_attention_{layer}` (B,N,S,T), for one row of each input.

    UnsupportedModelError where there is no such graph, or where attention is not one operator from every token to every token.
    """
    models = {name: load(folder / f"{name}.onnx") for name in graphs}
    parts = {name: part for name, model in models.items() if (part := _with_weights(model, f"{model_type}: its {name}"))}
    if not parts:
        raise UnsupportedModelError(f"{model_type} has no attention from token to token, of which a map could be drawn: leave out --with-attention.")
    for name, part in parts.items():
        (folder / attention_file(name)).write_bytes(part.SerializeToString(deterministic=True))


def _with_weights(model: onnx.ModelProto, what: str) -> onnx.ModelProto | None:
    """The nodes and outputs to add to a graph; None where it does not attend."""
    if unfused(flatten(model)):
        raise UnsupportedModelError(f"{what} has attention that is no single operator, of which no map is kept: leave out --with-attention.")
    if not (found := list(_attentions(model.graph))):
        return None
    kinds = [_kind(model, node) for node in found]
    layers = sum(value.name.startswith("past_key_") for value in model.graph.input)
    if layers and {kind: kinds.count(kind) for kind in kinds} != dict.fromkeys(KEYS.values(), layers):
        raise UnsupportedModelError(f"{what} does not attend once to the source and once to itself in every layer: leave out --with-attention.")
    shapes = {value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim] for value in model.graph.value_info}
    part, count = onnx.ModelProto(), dict.fromkeys(kinds, 0)
    for node, kind in zip(found, kinds, strict=True):
        queries, keys = (shapes.get(node.input[place], [])[:2] for place in (QUERY, KEY))
        if kind == "encoder" and queries != keys:
            raise UnsupportedModelError(f"{what} attends to a part of the tokens at a time, of which there is no map: leave out --with-attention.")
        _add_weights(part.graph, node, kind, count[kind])
        count[kind] += 1
    return part


def _attentions(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """In the order of the layers. What a branch attends to comes from outside of it."""
    for node in graph.node:
        if node.op_type == "MultiHeadAttention":
            yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _attentions(attribute.g)


def _kind(model: onnx.ModelProto, node: onnx.NodeProto) -> str:
    """By what its keys are made of, other than by projecting: keys of before, keys that the encoder made, or neither."""
    makers = {name: other for other in model.graph.node for name in other.output}
    waiting = [node.input[PAST_KEY] if _given(node, PAST_KEY) else node.input[KEY]]
    while waiting:
        name = waiting.pop()
        for prefix, kind in KEYS.items():
            if name.startswith(prefix):
                return kind
        if name in makers and makers[name].op_type in LAYOUT:
            waiting.extend(makers[name].input)
    return "encoder"


def _given(node: onnx.NodeProto, place: int) -> bool:
    return len(node.input) > place and bool(node.input[place])


class _Weights:
    """Nodes under construction, each value named after the output that they lead to."""

    def __init__(self, graph: onnx.GraphProto, name: str) -> None:
        self.graph, self.name = graph, name

    def add(self, op: str, *inputs: str | np.ndarray[Any, Any], **attributes: Any) -> str:
        place = f"{self.name}.{len(self.graph.node)}"
        names = [self._constant(value, f"{place}.{i}") if isinstance(value, np.ndarray) else value for i, value in enumerate(inputs)]
        self.graph.node.append(helper.make_node(op, names, [place], name=place, **attributes))
        return place

    def _constant(self, value: np.ndarray[Any, Any], name: str) -> str:
        self.graph.initializer.append(numpy_helper.from_array(value, name))
        return name


def _add_weights(graph: onnx.GraphProto, node: onnx.NodeProto, kind: str, layer: int) -> None:
    name = f"{kind}_attention_{layer}"
    attributes: Mapping[str, Any] = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    heads, least = attributes["num_heads"], np.array(np.finfo(np.float32).min)
    made = _Weights(graph, name)

    def exact(value: str) -> str:
        return made.add("Cast", value, to=onnx.TensorProto.FLOAT)  # of a graph in float16

    def by_head(value: str, perm: list[int]) -> str:
        return made.add("Transpose", made.add("Reshape", exact(value), np.array([0, 0, heads, -1])), perm=perm)

    query = by_head(node.input[QUERY], [0, 2, 1, 3])
    if _given(node, PAST_KEY):
        keys = made.add("Transpose", exact(node.output[1]), perm=[0, 1, 3, 2])  # joined with those of before
    elif kind == "cross":  # by head already
        keys = made.add("Transpose", exact(node.input[KEY]), perm=[0, 1, 3, 2])
    else:
        keys = by_head(node.input[KEY], [0, 2, 3, 1])
    scores = made.add("Mul", made.add("MatMul", query, keys), np.array(attributes["scale"], np.float32))
    if _given(node, BIAS):
        scores = made.add("Add", scores, exact(node.input[BIAS]))
    if _given(node, PADDING):
        seen = made.add("Unsqueeze", made.add("Cast", node.input[PADDING], to=onnx.TensorProto.BOOL), np.array([1, 2]))
        scores = made.add("Where", seen, scores, least)
    if attributes.get("unidirectional"):
        shape = made.add("Shape", scores, start=2)
        every = made.add("ConstantOfShape", shape, value=numpy_helper.from_array(np.array([True])))
        before = made.add("Sub", *(made.add("Gather", shape, np.array(axis)) for axis in (1, 0)))  # how many keys come before the first query
        scores = made.add("Where", made.add("Trilu", every, before, upper=0), scores, least)
    graph.node.append(helper.make_node("Softmax", [scores], [name], name=name, axis=-1))
    graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["B", heads, "S", "T"]))
