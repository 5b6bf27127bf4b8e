"""Find the largest of whole numbers among doubles, which hold all of them, for devices that have no kernel for `ArgMax` of whole ones.

    before:  n (B,T) int32 -> ArgMax -> (B,1)
    after:   n (B,T) int32 -> Cast(double) -> ArgMax -> (B,1)

Classifiers made of decoders find the last word that is no padding so, and BigBird the end of a question.
"""

from __future__ import annotations

import onnx_ir as ir

from zen_edge.exporters.fusions.edit import insert


def check(node: ir.Node) -> ir.Value | None:
    """The whole numbers that it finds the largest of."""
    given = node.inputs[0] if node.op_type == "ArgMax" and not node.domain else None
    return given if given is not None and given.dtype == ir.DataType.INT32 else None


def apply(graph: ir.Graph) -> int:
    made = 0
    for node in list(graph):
        given = check(node)
        if given is not None:
            (numbers,) = insert(node, "Cast", [given], {"to": int(ir.DataType.DOUBLE)})
            numbers.shape, numbers.type = given.shape, ir.TensorType(ir.DataType.DOUBLE)
            node.replace_input_with(0, numbers)
            made += 1
    return made
