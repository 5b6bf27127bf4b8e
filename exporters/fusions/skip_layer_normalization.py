"""The residual and the normalization after it as one operator.

    before:  x -> Add(b) -> Add(skip) -> LayerNormalization -> y;  the sum may be read elsewhere too (pre-norm models)
    after:   x, skip, b -> SkipLayerNormalization -> y, sum

SimplifiedLayerNormalization, the one without mean and shift, becomes SkipSimplifiedLayerNormalization alike.

The bias is taken along when it is a constant vector, which saves another pass over x.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from zen_edge.exporters.fusions.edit import MICROSOFT, constant, insert, only_use, replace, same_shape


FUSED = {"LayerNormalization": "SkipLayerNormalization", "SimplifiedLayerNormalization": "SkipSimplifiedLayerNormalization"}


@dataclass(frozen=True)
class Residual:
    """x and skip (B,S,D), bias (D,) or None; total is their sum."""

    x: ir.Value
    skip: ir.Value
    bias: ir.Value | None
    total: ir.Value


def check(node: ir.Node) -> Residual | None:
    """The residual in front of a normalization over the last axis of three; None if the operator could not do the same."""
    if node.op_type not in FUSED or node.domain or node.attributes.get_int("axis", -1) not in (-1, 2):
        return None
    total = node.inputs[0]
    if (
        len(node.inputs) != (3 if node.op_type == "LayerNormalization" else 2)
        or total.shape is None
        or len(total.shape) != 3
        or total.dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16)
    ):
        return None
    # Gain and shift as long as the axis: the operator broadcasts neither. Constant: one computed from the sum would be wanted before the sum.
    if any(tensor is None or tuple(tensor.shape) != (total.shape[2],) for tensor in map(constant, node.inputs[1:])):
        return None
    add = total.producer()
    if add is None or add.op_type != "Add" or add.domain or not same_shape(*add.inputs):
        return None
    if any(constant(value) is not None for value in add.inputs) or len(node.outputs) > 1:
        return None
    for x, skip in (add.inputs, reversed(add.inputs)):
        producer = x.producer()
        if producer is not None and producer.op_type == "Add" and not producer.domain and only_use(x):
            for inner, bias in (producer.inputs, reversed(producer.inputs)):
                tensor = constant(bias)
                if tensor is not None and tuple(tensor.shape) == (total.shape[2],) and same_shape(inner, total):
                    return Residual(inner, skip, bias, total)
    return Residual(*add.inputs, None, total)


def apply(graph: ir.Graph) -> int:
    made = 0
    for node in list(graph):
        residual = check(node)
        if residual is None:
            continue
        inputs = [residual.x, residual.skip, *node.inputs[1:], *([residual.bias] if residual.bias is not None else [])]
        epsilon = node.attributes.get_float("epsilon", 1e-5)
        outputs = insert(node, FUSED[node.op_type], inputs, {"epsilon": epsilon}, domain=MICROSOFT, outputs=4)
        replace(node.outputs[0], outputs[0])
        if residual.total.uses() or residual.total.is_graph_output():
            replace(residual.total, outputs[3])
        for value in outputs[1:3]:
            value.name = ""  # statistics that training asks for
        if not outputs[3].uses() and not outputs[3].is_graph_output():
            outputs[3].producer().resize_outputs(1)
        made += 1
    return made
