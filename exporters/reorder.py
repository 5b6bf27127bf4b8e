"""The graph that moves keys and values to the rows that go on from them.

    beam_index (R'), past_key_i, past_value_i (R,N,P,H)  ->  moved_key_i, moved_value_i (R',N,P,H)

Kept apart from the decoder, so that a step in which every row goes on from itself copies nothing.
"""

from __future__ import annotations

import onnx_ir as ir

from zen_edge.exporters.trace import OPSET, DecoderSizes


def reorder_graph(sizes: DecoderSizes) -> ir.Model:
    kind = ir.TensorType(ir.DataType.FLOAT)
    index = ir.Value(name="beam_index", shape=ir.Shape(["R'"]), type=ir.TensorType(ir.DataType.INT64))
    names = [f"{part}_{i}" for i in range(sizes.layers) for part in ("key", "value")]
    inputs = [ir.Value(name=f"past_{name}", shape=ir.Shape(["R", sizes.heads, "P", sizes.head_size]), type=kind) for name in names]
    nodes = [ir.node("Gather", [value, index], {"axis": 0}) for value in inputs]
    for node, name in zip(nodes, names, strict=True):
        output = node.outputs[0]
        output.name, output.shape, output.type = f"moved_{name}", ir.Shape(["R'", sizes.heads, "P", sizes.head_size]), kind
    graph = ir.Graph([index, *inputs], [node.outputs[0] for node in nodes], nodes=nodes, name="reorder", opset_imports={"": OPSET})
    return ir.Model(graph, ir_version=10)
