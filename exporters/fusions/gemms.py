"""A projection of rows as the product and the sum that it is.

    before:  x (R,K), W (N,K), b -> Gemm(transB=1) -> y
    after:   x -> MatMul(W^T) -> Add(b) -> y

PyTorch's trace writes nn.Linear so where it is given (R,K), as in a cell or a step; what packs and quantizes projections looks for products. In fp32 ONNX Runtime makes
the same kernel of both.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from zen_edge.exporters.fusions.edit import add_initializer, constant, insert, replace


def check(node: ir.Node) -> bool:
    """Whether `node` multiplies what is computed with a constant matrix, and adds nothing or a constant, both as they are."""
    if node.op_type != "Gemm" or node.domain or node.attributes.get_int("transA", 0):
        return False
    plain = node.attributes.get_float("alpha", 1.0) == 1.0 == node.attributes.get_float("beta", 1.0)
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    return plain and constant(node.inputs[0]) is None and constant(node.inputs[1]) is not None and (bias is None or constant(bias) is not None)


def apply(graph: ir.Graph) -> int:
    found = [node for node in graph if check(node)]
    for node in found:
        x, weight = node.inputs[:2]
        assert weight is not None
        if node.attributes.get_int("transB", 0):
            tensor = constant(weight)
            assert tensor is not None
            weight = add_initializer(graph, f"{weight.name}.turned", np.ascontiguousarray(tensor.numpy().T))
        (out,) = insert(node, "MatMul", [x, weight])
        out.shape, out.type = node.outputs[0].shape, node.outputs[0].type
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            (out,) = insert(node, "Add", [out, node.inputs[2]])
        replace(node.outputs[0], out)
    return len(found)
