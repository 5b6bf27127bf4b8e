"""Normalization by groups of channels as normalization by channels, for devices that have a kernel for this alone.

    before:  GroupNormalization<num_groups=G>(x (B,C,...), gain (C), bias (C)) -> y
    after:   InstanceNormalization(x, gain, bias) -> y                                                              where G is C
             Reshape (B,G,-1) -> InstanceNormalization(1, 0) -> Reshape (B,C,...) -> Mul(gain) -> Add(bias) -> y    otherwise

ONNX Runtime has no kernel for GroupNormalization and opens it up into a dozen operators.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from zen_edge.exporters.fusions.edit import add_initializer, constant, insert, replace


@dataclass(frozen=True)
class Groups:
    """C channels in `count` groups; rank: of x."""

    count: int
    channels: int
    rank: int


def check(node: ir.Node) -> Groups | None:
    """Of a normalization with a gain for each channel (from opset 21 on), in single precision."""
    if node.op_type != "GroupNormalization" or node.domain or node.attributes.get_int("stash_type", 1) != 1:
        return None
    x, gain = node.inputs[:2]
    if x is None or x.shape is None or x.dtype != ir.DataType.FLOAT or gain is None or gain.shape is None or not isinstance(gain.shape[0], int):
        return None
    known = Groups(node.attributes.get_int("num_groups", 0), int(gain.shape[0]), len(x.shape))
    return known if known.rank > 2 and isinstance(x.shape[1], int) and x.shape[1] == known.channels else None


def apply(graph: ir.Graph) -> int:
    found = [(node, groups) for node in graph if (groups := check(node)) is not None]
    for node, groups in found:
        replace(node.outputs[0], _by_channel(graph, node, groups))
    return len(found)


def _by_channel(graph: ir.Graph, node: ir.Node, groups: Groups) -> ir.Value:
    x, gain, bias = node.inputs
    epsilon = {"epsilon": node.attributes.get_float("epsilon", 1e-5)}
    if groups.count == groups.channels:
        return insert(node, "InstanceNormalization", [x, gain, bias], epsilon)[0]
    G, name = groups.count, f"group_normalization.{groups.count}"
    ones, zeros = add_initializer(graph, f"{name}.one", np.ones(G, np.float32)), add_initializer(graph, f"{name}.zero", np.zeros(G, np.float32))
    (shape,) = insert(node, "Shape", [x])
    (grouped,) = insert(node, "Reshape", [x, add_initializer(graph, f"{name}.shape", np.array([0, G, -1], np.int64))])
    (even,) = insert(node, "InstanceNormalization", [grouped, ones, zeros], epsilon)
    (even,) = insert(node, "Reshape", [even, shape])
    even.shape = x.shape
    for op, vector in (("Mul", gain), ("Add", bias)):
        (even,) = insert(node, op, [even, _along_channels(graph, node, vector, groups)])
        even.shape = x.shape
    return even


def _along_channels(graph: ir.Graph, node: ir.Node, vector: ir.Value, groups: Groups) -> ir.Value:
    """(C) -> (C,1,...)"""
    shape = (groups.channels, *[1] * (groups.rank - 2))
    tensor = constant(vector)
    if tensor is not None:
        return add_initializer(graph, f"{vector.name}.{groups.rank}", tensor.numpy().reshape(shape))
    return insert(node, "Reshape", [vector, add_initializer(graph, f"group_normalization.{shape}", np.array(shape, np.int64))])[0]
