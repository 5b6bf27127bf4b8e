"""Einstein sums of two factors as a product of matrices.

    before:  q (B,S,N,H), k (B,T,N,H) -> Einsum("bsnh,btnh->bnst") -> scores (B,N,S,T)
    after:   q -> Transpose (B,N,S,H);  k -> Transpose (B,N,H,T);  MatMul -> scores

so that attention spelt in them is attention like any other.
"""

from __future__ import annotations

import onnx_ir as ir

from zen_edge.exporters.fusions.edit import replace
from zen_edge.exporters.fusions.shaped import Layout, sizes


def check(node: ir.Node) -> tuple[str, str, str] | None:
    """The letters of both factors and of the sum, where one letter is summed over and each factor has one of its own; others stand in all three."""
    if node.op_type != "Einsum" or node.domain or len(node.inputs) != 2 or any(sizes(value) is None for value in (*node.inputs, *node.outputs)):
        return None
    equation = node.attributes["equation"].as_string().replace(" ", "")
    terms, arrow, out = equation.partition("->")
    left, comma, right = terms.partition(",")
    if not arrow or not comma or "." in equation or any(len(set(part)) != len(part) for part in (left, right, out)):
        return None
    groups = [set(left) & set(right) - set(out), set(left) & set(out) - set(right), set(right) & set(out) - set(left)]
    alone = (set(left) ^ set(right)) - set(out)
    return (left, right, out) if all(len(group) == 1 for group in groups) and not alone else None


def apply(graph: ir.Graph) -> int:
    made = 0
    for node in list(graph):
        letters = check(node)
        if letters is None:
            continue
        left, right, out = letters
        batch = [letter for letter in left if letter in right and letter in out]
        summed = next(letter for letter in left if letter in right and letter not in out)
        rows, columns = (next(letter for letter in one if letter not in other) for one, other in ((left, right), (right, left)))
        a, b = node.inputs
        assert a is not None
        assert b is not None
        layout = Layout(node, (a, b))
        a = layout.transpose(a, [left.index(letter) for letter in (*batch, rows, summed)])
        b = layout.transpose(b, [right.index(letter) for letter in (*batch, summed, columns)])
        known = dict(zip(out, sizes(node.outputs[0]) or (), strict=True))
        product = layout.add("MatMul", [a, b], tuple(known[letter] for letter in (*batch, rows, columns)), node.outputs[0])
        replace(node.outputs[0], layout.transpose(product, [(*batch, rows, columns).index(letter) for letter in out]))
        made += 1
    return made
