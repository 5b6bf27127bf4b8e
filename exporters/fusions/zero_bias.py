"""Drop additions of nothing.

    before:  x -> Add(x, 0) -> y
    after:   x -> y

Marian's `final_logits_bias` is all zeros in every published checkpoint, and costs a pass over the vocabulary at each step.
"""

from __future__ import annotations

import onnx_ir as ir

from zen_edge.exporters.fusions.edit import constant, replace, same_shape


def check(node: ir.Node) -> ir.Value | None:
    """The summand that is kept, if the other one is a constant of zeros that does not widen it."""
    if node.op_type != "Add" or node.domain:
        return None
    for kept, added in (node.inputs, reversed(node.inputs)):
        tensor = constant(added)
        if tensor is not None and kept is not None and same_shape(kept, node.outputs[0]) and not tensor.numpy().any():
            # A graph output gives its name to what replaces it; inputs, weights and other outputs have to keep their own.
            named = node.outputs[0].is_graph_output() and (kept.producer() is None or kept.is_graph_output())
            return None if named else kept
    return None


def apply(graph: ir.Graph) -> int:
    made = 0
    for node in list(graph):
        kept = check(node)
        if kept is not None:
            replace(node.outputs[0], kept)
            made += 1
    return made
