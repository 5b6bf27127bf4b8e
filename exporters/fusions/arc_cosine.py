"""The arc cosine by a polynomial, for devices that have no kernel for `Acos`.

    before:  x -> Acos -> y
    after:   r = |x|, z = x^2           where |x| is at most 1/2;   r = sqrt(z), z = (1 - |x|) / 2   where it is more
             asin(r) = r + r z p(z);    acos(|x|) = pi/2 - asin(r)  or  2 asin(r);                   acos(x) = pi - acos(|x|)   where x is negative

in single precision, off by 4e-7 at most on all of [-1,1], which is the last bit but one; not a number outside of it, as `Acos`. The polynomial is of degree 4, that of `asinf` in the
Cephes library (S. L. Moshier, 1989). YOSO weighs its tokens by such angles.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from zen_edge.exporters.fusions.edit import add_initializer, insert, replace

POLYNOMIAL = (4.2163199048e-2, 2.4181311049e-2, 4.5470025998e-2, 7.4953002686e-2, 1.6666752422e-1)
"""p, the highest power first"""


def check(node: ir.Node) -> ir.Value | None:
    """What it takes the arc cosine of, in single precision."""
    given = node.inputs[0] if node.op_type == "Acos" and not node.domain else None
    return given if given is not None and given.dtype == ir.DataType.FLOAT else None


def apply(graph: ir.Graph) -> int:
    made = 0
    for node in list(graph):
        x = check(node)
        if x is not None:
            replace(node.outputs[0], _arc_cosine(graph, node, x))
            made += 1
    return made


def _arc_cosine(graph: ir.Graph, before: ir.Node, x: ir.Value) -> ir.Value:
    def number(value: float) -> ir.Value:
        return add_initializer(graph, f"arc_cosine.{value}", np.array(value, np.float32))

    def of(op: str, *inputs: ir.Value) -> ir.Value:
        (made,) = insert(before, op, inputs)
        made.shape, made.type = x.shape, ir.TensorType(ir.DataType.BOOL if op in ("Less", "LessOrEqual") else ir.DataType.FLOAT)
        return made

    size = of("Abs", x)
    small = of("LessOrEqual", size, number(0.5))
    z = of("Where", small, of("Mul", x, x), of("Mul", of("Sub", number(1), size), number(0.5)))
    r = of("Where", small, size, of("Sqrt", z))
    p = number(POLYNOMIAL[0])
    for coefficient in POLYNOMIAL[1:]:
        p = of("Add", of("Mul", p, z), number(coefficient))
    sine = of("Add", r, of("Mul", r, of("Mul", z, p)))
    cosine = of("Where", small, of("Sub", number(np.pi / 2), sine), of("Add", sine, sine))
    return of("Where", of("Less", x, number(0)), of("Sub", number(np.pi), cosine), cosine)
