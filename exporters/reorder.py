"""The graphs that move keys and values: to the rows that go on from them, and back to the positions that hold.

    reorder:  beam_index (R'), past_key_i, past_value_i (R,N,P,H)  ->  moved_key_i, moved_value_i (R',N,P,H)
    cut:      length (1), past_key_i, past_value_i (R,N,P,H)       ->  moved_key_i, moved_value_i (R,N,P',H), the first `length` of P

Kept apart from the decoder, so that a step in which every row goes on from itself copies nothing. `cut` is for devices with memory of their own: on a CPU an
array is cut where it lies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from zen_edge.exporters.fusions.edit import add_initializer
from zen_edge.exporters.trace import OPSET, DecoderSizes


@dataclass(frozen=True)
class Moved:
    """A tensor whose rows lie along one axis. shape: R where they are."""

    name: str
    shape: Sequence[int | str]
    dtype: ir.DataType = ir.DataType.FLOAT

    @property
    def axis(self) -> int:
        return list(self.shape).index("R")


def reorder_graph(sizes: DecoderSizes) -> ir.Model:
    return gather_graph("reorder", _past(sizes))


def cut_graph(sizes: DecoderSizes) -> ir.Model:
    length, inputs, graph = _graph("cut", "length", 1, _past(sizes))
    begin, axis = (add_initializer(graph, name, np.array([number])) for name, number in (("begin", 0), ("positions", 2)))
    shape = ["R", sizes.heads, "P'", sizes.head_size]
    for value, one in inputs:
        _add(graph, ir.node("Slice", [value, begin, length, axis]), one, shape)
    return ir.Model(graph, ir_version=10)


def gather_graph(name: str, tensors: Mapping[str, Moved]) -> ir.Model:
    """tensors: by the name of the input, each with that of the output."""
    index, inputs, graph = _graph(name, "beam_index", "R'", tensors)
    for value, one in inputs:
        _add(graph, ir.node("Gather", [value, index], {"axis": one.axis}), one, ["R'" if size == "R" else size for size in one.shape])
    return ir.Model(graph, ir_version=10)


def _past(sizes: DecoderSizes) -> dict[str, Moved]:
    names = [f"{part}_{i}" for i in range(sizes.layers) for part in ("key", "value")]
    return {f"past_{name}": Moved(f"moved_{name}", ["R", sizes.heads, "P", sizes.head_size]) for name in names}


def _graph(name: str, told: str, size: int | str, tensors: Mapping[str, Moved]) -> tuple[ir.Value, list[tuple[ir.Value, Moved]], ir.Graph]:
    """told: the input of whole numbers, (size,), in front of `tensors`."""
    first = ir.Value(name=told, shape=ir.Shape([size]), type=ir.TensorType(ir.DataType.INT64))
    inputs = [ir.Value(name=given, shape=ir.Shape(one.shape), type=ir.TensorType(one.dtype)) for given, one in tensors.items()]
    graph = ir.Graph([first, *inputs], [], nodes=[], name=name, opset_imports={"": OPSET})
    return first, list(zip(inputs, tensors.values(), strict=True)), graph


def _add(graph: ir.Graph, node: ir.Node, one: Moved, shape: Sequence[int | str]) -> None:
    output = node.outputs[0]
    output.name, output.shape, output.type = one.name, ir.Shape(shape), ir.TensorType(one.dtype)
    graph.append(node)
    graph.outputs.append(output)
