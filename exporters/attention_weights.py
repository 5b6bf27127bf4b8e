"""The nodes that compute the weights of one attention: from an operator's queries and keys, or from the softmax of attention that is written out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

QUERY, KEY, PADDING, BIAS, PAST_KEY = 0, 1, 4, 5, 6  # places among the operator's inputs

Size = int | str


class Weights:
    """Nodes under construction, each value named after the output that they lead to."""

    def __init__(self, graph: onnx.GraphProto, name: str) -> None:
        self.graph, self.name = graph, name

    def add(self, op: str, *inputs: str | np.ndarray[Any, Any], **attributes: Any) -> str:
        return self._made(f"{self.name}.{len(self.graph.node)}", op, inputs, attributes)

    def exact(self, value: str) -> str:
        return self.add("Cast", value, to=onnx.TensorProto.FLOAT)  # of a graph in another precision

    def returned(self, op: str, *inputs: str | np.ndarray[Any, Any], heads: Size, **attributes: Any) -> None:
        """The last node, whose output (B,N,S,T) the graph returns."""
        self._made(self.name, op, inputs, attributes)
        self.graph.output.append(helper.make_tensor_value_info(self.name, onnx.TensorProto.FLOAT, ["B", heads, "S", "T"]))

    def _made(self, name: str, op: str, inputs: Sequence[str | np.ndarray[Any, Any]], attributes: Mapping[str, Any]) -> str:
        names = [self._constant(value, f"{name}.given_{i}") if isinstance(value, np.ndarray) else value for i, value in enumerate(inputs)]
        self.graph.node.append(helper.make_node(op, names, [name], name=name, **attributes))
        return name

    def _constant(self, value: np.ndarray[Any, Any], name: str) -> str:
        self.graph.initializer.append(numpy_helper.from_array(value, name))
        return name


def given(node: onnx.NodeProto, place: int) -> bool:
    return len(node.input) > place and bool(node.input[place])


def of_operator(graph: onnx.GraphProto, node: onnx.NodeProto, name: str, *, by_head: bool = False, guarded: bool = False) -> None:
    """Of a MultiHeadAttention. by_head: its keys are (B,N,T,H), not (B,T,D). guarded: a row that sees no key has weights of zero, not NaN."""
    attributes: Mapping[str, Any] = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    heads, least = attributes["num_heads"], np.array(np.finfo(np.float32).min)
    made = Weights(graph, name)

    def apart(value: str, perm: list[int]) -> str:
        return made.add("Transpose", made.add("Reshape", made.exact(value), np.array([0, 0, heads, -1])), perm=perm)

    query = apart(node.input[QUERY], [0, 2, 1, 3])
    if given(node, PAST_KEY):
        keys = made.add("Transpose", made.exact(node.output[1]), perm=[0, 1, 3, 2])  # joined with those of before
    elif by_head:
        keys = made.add("Transpose", made.exact(node.input[KEY]), perm=[0, 1, 3, 2])
    else:
        keys = apart(node.input[KEY], [0, 2, 3, 1])
    scores = made.add("Mul", made.add("MatMul", query, keys), np.array(attributes["scale"], np.float32))
    if given(node, BIAS):
        scores = made.add("Add", scores, made.exact(node.input[BIAS]))
    if given(node, PADDING):
        seen = made.add("Unsqueeze", made.add("Cast", node.input[PADDING], to=onnx.TensorProto.BOOL), np.array([1, 2]))
        scores = made.add("Where", seen, scores, least)
    if attributes.get("unidirectional"):
        shape = made.add("Shape", scores, start=2)
        every = made.add("ConstantOfShape", shape, value=numpy_helper.from_array(np.array([True])))
        before = made.add("Sub", *(made.add("Gather", shape, np.array(axis)) for axis in (1, 0)))  # how many keys come before the first query
        scores = made.add("Where", made.add("Trilu", every, before, upper=0), scores, least)
    if guarded:
        _without_nan(made, made.add("Softmax", scores, axis=-1), heads)
    else:
        made.returned("Softmax", scores, axis=-1, heads=heads)


def of_softmax(graph: onnx.GraphProto, value: str, name: str, perm: Sequence[int], apart: Sequence[int], heads: Size) -> None:
    """Of what a softmax gives: its axes in the order of `perm`, then new ones of size 1 at `apart`; of more than four the first become one. Rows of NaN become zeros."""
    made = Weights(graph, name)
    weights = made.add("Transpose", made.exact(value), perm=list(perm))
    if apart:
        weights = made.add("Unsqueeze", weights, np.array(apart))
    if len(perm) + len(apart) > 4:
        last = made.add("Shape", weights, start=-3)
        weights = made.add("Reshape", weights, made.add("Concat", np.array([-1]), last, axis=0))
    _without_nan(made, weights, heads)


def _without_nan(made: Weights, weights: str, heads: Size) -> None:
    made.returned("Where", made.add("IsNaN", weights), np.array(0, np.float32), weights, heads=heads)
