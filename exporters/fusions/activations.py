"""Swish, also called SiLU, as one operator.

    before:  x -> Sigmoid -> s;  Mul(x, s) -> y
    after:   x -> QuickGelu(alpha=1) -> y

Half the time for many rows (0.46 ms instead of 0.93 for 512 rows of 3,072), a little less for one.
"""

from __future__ import annotations

import onnx_ir as ir

from zen_edge.exporters.fusions.edit import MICROSOFT, insert, only_use, replace


def check(node: ir.Node) -> ir.Value | None:
    """x, if `node` is x * sigmoid(x)."""
    if node.op_type != "Mul" or node.domain:
        return None
    for x, gate in (node.inputs, reversed(node.inputs)):
        producer = gate.producer() if gate is not None else None
        if producer is not None and producer.op_type == "Sigmoid" and producer.inputs[0] is x and only_use(gate):
            return x
    return None


def apply(graph: ir.Graph) -> int:
    made = 0
    for node in list(graph):
        swish = check(node)
        if swish is not None:
            (out,) = insert(node, "QuickGelu", [swish], {"alpha": 1.0}, domain=MICROSOFT)
            replace(node.outputs[0], out)
            made += 1
    return made
