"""Attention without a bias of zeros.

    before:  0 -> Expand (1,N,S,T) -> MultiHeadAttention(q, k, v, mask, bias)
    after:   MultiHeadAttention(q, k, v, mask)

T5 hands its cross-attention a position bias like any other, made of zeros; it would be laid out and added at every step.
"""

from __future__ import annotations

import onnx_ir as ir

from zen_edge.exporters.fusions.edit import MICROSOFT, constant

BIAS = 5  # its place among the inputs
LAYOUT = {"Expand", "Tile", "Reshape", "Unsqueeze", "Identity"}


def check(node: ir.Node) -> bool:
    """Whether `node` is attention whose bias is made of zeros, however they are laid out."""
    if node.op_type != "MultiHeadAttention" or node.domain != MICROSOFT or len(node.inputs) <= BIAS:
        return False
    value = node.inputs[BIAS]
    while value is not None and (producer := value.producer()) is not None and producer.op_type in LAYOUT and not producer.domain:
        value = producer.inputs[0]
    tensor = constant(value)
    return tensor is not None and not tensor.numpy().any()


def apply(graph: ir.Graph) -> int:
    made = 0
    for node in graph:
        if check(node):
            node.replace_input_with(BIAS, None)
            if len(node.inputs) == BIAS + 1:
                node.resize_inputs(BIAS if node.inputs[BIAS - 1] is not None else BIAS - 2)
            made += 1
    return made
