"""Transposes one after another as one, or none.

before:  x (B,S,N,H) -> Transpose (B,N,S,H) -> Transpose -> y (B,S,N,H)
after:   x -> y
"""

from __future__ import annotations

import onnx_ir as ir

from zen_edge.exporters.fusions.edit import replace
from zen_edge.exporters.fusions.shaped import Layout, sizes


def check(node: ir.Node) -> list[int] | None:
    """The order of the axes, if `node` transposes what another transposed."""
    if node.op_type != "Transpose" or node.domain or "perm" not in node.attributes or node.outputs[0].is_graph_output():
        return None
    source = node.inputs[0]
    maker = None if source is None else source.producer()
    if maker is None or maker.op_type != "Transpose" or maker.domain or sizes(maker.inputs[0]) is None:
        return None
    return list(node.attributes["perm"].as_ints())


def apply(graph: ir.Graph) -> int:
    made = 0
    for node in list(graph):
        perm = check(node)
        if perm is not None and node.inputs[0] is not None:
            replace(node.outputs[0], Layout(node, ()).transpose(node.inputs[0], perm))
            made += 1
    return made
