"""The few ways in which fusions read and change a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

MICROSOFT = "com.microsoft"


def constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor of an initializer, or None for anything computed."""
    return None if value is None else value.const_value


def same_shape(a: ir.Value, b: ir.Value) -> bool:
    """Whether two values have the same shape for certain: every axis known by number or by the same symbol."""
    if a.shape is None or b.shape is None or len(a.shape) != len(b.shape):
        return False
    return all(x == y and (isinstance(x, int) or x.value is not None) for x, y in zip(a.shape, b.shape, strict=True))


def only_use(value: ir.Value) -> bool:
    """Whether exactly one node reads `value` and the graph does not return it."""
    return not value.is_graph_output() and len(value.uses()) == 1


def add_initializer(graph: ir.Graph, name: str, array: np.ndarray[Any, Any] | ir.TensorProtocol) -> ir.Value:
    """A new initializer under `name`, or the one that is there already under it."""
    if name in graph.initializers:
        return graph.initializers[name]
    tensor = ir.tensor(array, name=name) if isinstance(array, np.ndarray) else array
    value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def insert(
    before: ir.Node, op: str, inputs: Sequence[ir.Value | None], attributes: dict[str, Any] | None = None, *, domain: str = "", outputs: int = 1
) -> tuple[ir.Value, ...]:
    """A new node in front of `before`; its outputs have no shape yet."""
    node = ir.node(op, list(inputs), attributes or {}, domain=domain, num_outputs=outputs)
    graph = before.graph
    assert graph is not None
    graph.insert_before(before, node)
    return tuple(node.outputs)


def replace(old: ir.Value, new: ir.Value) -> None:
    """Let `new` stand wherever `old` stood, graph outputs included, and drop the node that made `old`.

    A value made for the purpose takes over the name, so that the same tensor has the same name in every precision.
    """
    node = old.producer()
    new.shape = old.shape if new.shape is None else new.shape
    new.type = old.type if new.type is None else new.type
    if new.name is None or old.is_graph_output():
        old.name, new.name = None, old.name
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    if node is not None and node.graph is not None and not any(output.uses() for output in node.outputs):
        node.graph.remove(node, safe=True)


def is_step(graph: ir.Graph) -> bool:
    """Whether the graph is a decoding step, which goes on from a past and has few rows, and not one that reads a whole input."""
    return any((value.name or "").startswith("past_") for value in graph.inputs)
