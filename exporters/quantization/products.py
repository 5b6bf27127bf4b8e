"""What has weights in a graph: products with a constant matrix, and look-ups in a table of words."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from zen_edge.exporters.fusions.edit import MICROSOFT, constant, only_use

QUANTIZED = {"MatMulIntegerToFloat", "MatMulNBits", "GatherBlockQuantized"}
SMALLEST = 16  # a matrix with fewer rows or columns gains nothing


@dataclass(frozen=True)
class Product:
    """x (...,K) times weight (K,N), or (N,K) if it is `turned`, plus bias (N,) if there is one. output: what the rest of the graph reads."""

    node: ir.Node
    weight: ir.Value
    turned: bool
    bias: ir.Value | None
    output: ir.Value

    @property
    def x(self) -> ir.Value:
        found = self.node.inputs[0]
        assert found is not None
        return found

    @property
    def sizes(self) -> tuple[int, int]:
        """(K,N)"""
        first, second = (int(size) for size in self.weight.const_value.shape)
        return (second, first) if self.turned else (first, second)

    @classmethod
    def of(cls, node: ir.Node) -> Product | None:
        """MatMul, or FusedMatMul with nothing but its second factor transposed."""
        turned = node.op_type == "FusedMatMul" and node.domain == MICROSOFT
        if not turned and (node.op_type != "MatMul" or node.domain):
            return None
        plain = not node.attributes.get_int("transA", 0) and node.attributes.get_float("alpha", 1.0) == 1.0
        if (
            not is_matrix(node.inputs[1])
            or constant(node.inputs[0]) is not None
            or not plain
            or (turned and not node.attributes.get_int("transB", 0))
        ):
            return None
        weight, output = node.inputs[1], node.outputs[0]
        assert weight is not None
        bias, output = _bias(output, int(weight.const_value.shape[0 if turned else 1]))
        return cls(node, weight, turned, bias, output)


def in_other_precisions(graph: ir.Graph) -> str | None:
    """An operator of `graph` that reads a matrix of whole numbers or halves as weights, as quantized graphs do; None if there is none."""
    for node in graph:
        if node.op_type in QUANTIZED:
            return node.op_type
        tensors = [constant(value) for value in node.inputs] if node.op_type in ("MatMul", "FusedMatMul", "Gather") else ()
        if any(tensor is not None and len(tensor.shape) == 2 and tensor.dtype == ir.DataType.FLOAT16 for tensor in tensors):
            return node.op_type
    return None


def is_matrix(value: ir.Value | None) -> bool:
    tensor = constant(value)
    return tensor is not None and len(tensor.shape) == 2 and min(tensor.shape) >= SMALLEST and tensor.dtype == ir.DataType.FLOAT


def is_look_up(node: ir.Node) -> bool:
    """Whether rows of a table are picked by a graph input: word embeddings are, tables of positions are not and stay exact."""
    if node.op_type != "Gather" or node.domain or node.attributes.get_int("axis", 0) != 0:
        return False
    return is_matrix(node.inputs[0]) and node.inputs[1].is_graph_input()


def _bias(product: ir.Value, width: int) -> tuple[ir.Value | None, ir.Value]:
    """The constant vector added to `product`, and the value after the addition; (None, product) if there is none."""
    if only_use(product):
        (use,) = product.uses()
        other = use.node.inputs[1 - use.idx] if use.node.op_type == "Add" and not use.node.domain else None
        tensor = constant(other)
        if tensor is not None and tuple(tensor.shape) == (width,):
            return other, use.node.outputs[0]
    return None, product
