"""Drop reshapes that come back to where they started.

    before:  x (R,S,D) -> Reshape (R,S,N,H) -> Reshape (R,S,D) -> y
    after:   x -> y

Models split their heads before attention and merge them after it; the fused operator takes and gives them merged.
"""

from __future__ import annotations

import onnx_ir as ir

from zen_edge.exporters.fusions.edit import replace, same_shape


def check(node: ir.Node) -> ir.Value | None:
    """The value at the top of a chain of reshapes that has the shape of the bottom already."""
    top = node.outputs[0]
    found = None
    while (producer := top.producer()) is not None and producer.op_type == "Reshape" and not producer.domain:
        top = producer.inputs[0]
        if same_shape(top, node.outputs[0]):
            found = top
    return found


def apply(graph: ir.Graph) -> int:
    made = 0
    for node in list(graph):
        if node.op_type == "Reshape" and not node.domain and not node.outputs[0].is_graph_output():
            source = check(node)
            if source is not None:
                replace(node.outputs[0], source)
                made += 1
    return made
