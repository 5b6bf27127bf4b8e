"""Repeat truth values along axes of one by `Expand`, for devices that have no kernel for `Tile` of them.

    before:  mask (B,T,1) -> Tile([1, 1, D]) -> (B,T,D)
    after:   mask (B,T,1) -> Expand([1, 1, D]) -> (B,T,D)

Where an axis is one, both say the same. HuBERT and its kin hide padded frames so.
"""

from __future__ import annotations

import onnx_ir as ir

from zen_edge.exporters.fusions.edit import constant, insert, replace


def check(node: ir.Node) -> bool:
    """Whether it repeats truth values, along axes of one alone."""
    if node.op_type != "Tile" or node.domain or node.inputs[0] is None or node.inputs[0].dtype != ir.DataType.BOOL:
        return False
    shape, repeats = node.inputs[0].shape, constant(node.inputs[1])
    return shape is not None and repeats is not None and all(size == 1 or times == 1 for size, times in zip(shape, repeats.numpy(), strict=True))


def apply(graph: ir.Graph) -> int:
    made = [node for node in list(graph) if check(node)]
    for node in made:
        replace(node.outputs[0], *insert(node, "Expand", node.inputs))
    return len(made)
