"""Activations as one operator.

before:  x -> Sigmoid -> s;  Mul(x, s) -> y            after:  x -> QuickGelu(alpha=1) -> y      (swish, also called SiLU)
before:  x -> Add(b) -> Gelu -> y                      after:  x, b -> BiasGelu -> y             (the exact Gelu)
"""

from __future__ import annotations

import onnx_ir as ir

from zen_edge.exporters.fusions.edit import MICROSOFT, constant, insert, only_use, replace


def check_swish(node: ir.Node) -> ir.Value | None:
    """x, if `node` is x * sigmoid(x)."""
    if node.op_type != "Mul" or node.domain:
        return None
    for x, gate in (node.inputs, reversed(node.inputs)):
        producer = gate.producer() if gate is not None else None
        if producer is not None and producer.op_type == "Sigmoid" and producer.inputs[0] is x and only_use(gate):
            return x
    return None


def check_bias_gelu(node: ir.Node) -> tuple[ir.Value, ir.Value] | None:
    """(x, bias), if `node` is the exact Gelu of x plus a constant vector as long as x is wide."""
    if node.op_type != "Gelu" or node.domain or node.attributes.get_string("approximate", "none") != "none":
        return None
    total = node.inputs[0]
    producer = total.producer() if total is not None else None
    if producer is None or producer.op_type != "Add" or not only_use(total):
        return None
    for x, bias in (producer.inputs, reversed(producer.inputs)):
        tensor = constant(bias)
        if tensor is not None and len(tensor.shape) == 1 and x.shape is not None and x.shape[-1] == tensor.shape[0]:
            return x, bias
    return None


def apply(graph: ir.Graph) -> int:
    made = 0
    for node in list(graph):
        swish, gelu = check_swish(node), check_bias_gelu(node)
        if swish is not None:
            (out,) = insert(node, "QuickGelu", [swish], {"alpha": 1.0}, domain=MICROSOFT)
        elif gelu is not None:
            (out,) = insert(node, "BiasGelu", list(gelu), domain=MICROSOFT)
        else:
            continue
        replace(node.outputs[0], out)
        made += 1
    return made
