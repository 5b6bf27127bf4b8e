"""An output head that shares the embedding's weight reads it as it lies.

    before:  E (V,D) -> Transpose (D,V);  x -> MatMul(x, E^T) -> logits
    after:   x -> FusedMatMul(x, E, transB=1) -> logits

The transposed copy would be made again at every start, and kept beside the embedding that the input words are looked up in.
"""

from __future__ import annotations

import onnx_ir as ir

from zen_edge.exporters.fusions.edit import MICROSOFT, constant, insert, replace


def check(node: ir.Node) -> ir.Value | None:
    """The constant matrix whose transpose `node` multiplies with."""
    if node.op_type != "MatMul" or node.domain:
        return None
    producer = node.inputs[1].producer()
    if producer is None or producer.op_type != "Transpose" or list(producer.attributes.get_ints("perm", (1, 0))) != [1, 0]:
        return None
    tensor = constant(producer.inputs[0])
    return producer.inputs[0] if tensor is not None and len(tensor.shape) == 2 else None


def apply(graph: ir.Graph) -> int:
    made = 0
    for node in list(graph):
        weight = check(node)
        if weight is not None:
            (out,) = insert(node, "FusedMatMul", [node.inputs[0], weight], {"transB": 1}, domain=MICROSOFT)
            replace(node.outputs[0], out)
            made += 1
    return made
