"""The graph that moves keys and values to the rows that go on from them.

    beam_index (R'), past_key_i, past_value_i (R,N,P,H)  ->  moved_key_i, moved_value_i (R',N,P,H)

Kept apart from the decoder, so that a step in which every row goes on from itself copies nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

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
    names = [f"{part}_{i}" for i in range(sizes.layers) for part in ("key", "value")]
    shape = ["R", sizes.heads, "P", sizes.head_size]
    return gather_graph("reorder", {f"past_{name}": Moved(f"moved_{name}", shape) for name in names})


def gather_graph(name: str, tensors: Mapping[str, Moved]) -> ir.Model:
    """tensors: by the name of the input, each with that of the output."""
    index = ir.Value(name="beam_index", shape=ir.Shape(["R'"]), type=ir.TensorType(ir.DataType.INT64))
    inputs = [ir.Value(name=given, shape=ir.Shape(one.shape), type=ir.TensorType(one.dtype)) for given, one in tensors.items()]
    nodes = [ir.node("Gather", [value, index], {"axis": one.axis}) for value, one in zip(inputs, tensors.values(), strict=True)]
    for node, one in zip(nodes, tensors.values(), strict=True):
        output, shape = node.outputs[0], ["R'" if size == "R" else size for size in one.shape]
        output.name, output.shape, output.type = one.name, ir.Shape(shape), ir.TensorType(one.dtype)
    graph = ir.Graph([index, *inputs], [node.outputs[0] for node in nodes], nodes=nodes, name=name, opset_imports={"": OPSET})
    return ir.Model(graph, ir_version=10)
