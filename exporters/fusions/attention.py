"""Attention written out, as one operator.

    before:  q (...,S,H), k (...,T,H) -> MatMul(q, k^T) -> Mul(scale) -> Add(bias) | Where(mask, -inf) -> Softmax -> MatMul(v) -> y (...,S,H)
    after:   q, k, v -> Transpose, Reshape (B,S,D) -> MultiHeadAttention(scale, attention_bias (B|1,N|1,S,T)) -> Reshape, Transpose -> y

`spelled_attention` finds it in any layout, `attention_operator` writes the operator. `scaled_dot_product_attention` comes from the trace in one node and
goes the same way. What is not fused stays as it was; the reason is written at its softmax, where `zen-edge inspect` reads it.
"""

from __future__ import annotations

import onnx_ir as ir

from zen_edge.exporters.fusions.attention_operator import MASKED, Parts, added, emit, negated, times, where
from zen_edge.exporters.fusions.edit import replace
from zen_edge.exporters.fusions.shaped import Layout, Refused, Sizes, sizes
from zen_edge.exporters.fusions.spelled_attention import Spelled, Step, find, layout_of, numbered, trial_sizes
from zen_edge.graphs import REASON

DOMAIN, WHOLE = "zen_edge", "ScaledDotProductAttention"  # PyTorch's own, as exporters/spellings.py leaves it: query, key, value and a mask or none
LAYER = "zen_edge.layer"  # the module that a softmax of the trace stands in


def check(node: ir.Node) -> Spelled | str | None:
    """The attention that `node`, a softmax, is the middle of; why it stays unfused; None where it is no attention."""
    return find(node) if node.op_type == "Softmax" and not node.domain else None


def apply(graph: ir.Graph) -> int:
    made = 0
    for node in list(graph):
        if node.op_type == "Softmax" and not node.domain:
            _without_infinities(node.outputs[0])
        if node.op_type == WHOLE and node.domain == DOMAIN:
            _fuse_whole(node)
            made += 1
        else:
            found = check(node)
            reason = _fuse(found) if isinstance(found, Spelled) else found
            if reason is not None:
                node.metadata_props[REASON] = f"{node.metadata_props.get(LAYER, 'attention')}: {reason}"
            elif found is not None:
                made += 1
    graph.opset_imports.pop(DOMAIN, None)
    return made


def _without_infinities(weights: ir.Value) -> None:
    """What nan_to_num does with infinite numbers is dropped: there are none among weights."""
    tests = [node for node in weights.consumers() if node.op_type in ("IsInf", "Less", "Greater")]
    both = [node for test in tests if test.op_type == "IsInf" for node in test.outputs[0].consumers() if node.op_type == "And"]
    for choice in [use.node for node in both for use in node.outputs[0].uses() if use.node.op_type == "Where" and use.idx == 0]:
        kept = choice.inputs[2]
        assert kept is not None
        replace(choice.outputs[0], kept)
    for node in dict.fromkeys((*both, *tests)):
        if not node.outputs[0].uses() and not node.outputs[0].is_graph_output() and node.graph is not None:
            node.graph.remove(node, safe=True)


def _fuse(found: Spelled) -> str | None:
    """Why it was not fused, after all."""
    layout = Layout(found.weighing, [value for value in (*found.product.inputs, *found.weighing.inputs) if value is not None][:3])
    try:
        parts = _parts(found, layout)
        out = emit(layout, parts)
        known = sizes(found.weighing.outputs[0])
        if known is None:
            raise Refused("the shape of what it gives is not known")
        if found.weighing_flipped:
            out = _turned(layout, out)
        out = layout.reshape(out, known)
    except Refused as refused:
        return str(refused)
    replace(found.weighing.outputs[0], out)
    return None


def _fuse_whole(node: ir.Node) -> None:
    query, key, value = (one for one in node.inputs[:3] if one is not None)
    mask = node.inputs[3] if len(node.inputs) > 3 else None
    layout = Layout(node, [query, key, value])
    known = sizes(node.outputs[0])
    assert known is not None
    lead = known[:-2]
    bias = mask
    if mask is not None and mask.dtype == ir.DataType.BOOL:
        bias = where(layout, mask, layout.scalar(0.0), layout.scalar(float("-inf")))
    causal = bool(node.attributes.get_int("is_causal", 0))
    parts = Parts(lead, query, key, value, bias, node.attributes.get_float("scale", 1.0), causal, guarded=mask is not None)
    replace(node.outputs[0], layout.reshape(emit(layout, parts), known))


def _turned(layout: Layout, x: ir.Value) -> ir.Value:
    """The last two axes exchanged."""
    rank = len(sizes(x) or ())
    return layout.transpose(x, [*range(rank - 2), rank - 1, rank - 2])


def _parts(found: Spelled, layout: Layout) -> Parts:
    scores, weighed = sizes(found.product.outputs[0]), sizes(found.weighing.outputs[0])
    if scores is None or weighed is None or any(sizes(value) is None for value in (*found.product.inputs, *found.weighing.inputs)):
        raise Refused("the shape of its queries, keys or values is not known")
    left, right = found.product.inputs
    one, other = found.weighing.inputs
    query, key = (_turned(layout, right), left) if found.flipped else (left, _turned(layout, right))
    value = _turned(layout, one) if found.weighing_flipped else other
    levels = _Levels(found, layout, scores)
    lead = levels.lead
    query, key = (layout.regroup(x, scores[:-2], lead) for x in (query, key))
    value = layout.regroup(value, weighed[:-2], lead)
    scale, bias = 1.0, None
    for step, level in levels.steps:
        if step.kind == "scale":
            scale *= step.number
            factor = step.other if step.other is not None else layout.scalar(step.number)
            query = query if step.other is None else times(layout, query, layout.reshape(factor, ()))
            bias = bias if bias is None or (step.other is None and step.number == 1) else times(layout, bias, layout.reshape(factor, ()))
        elif step.kind == "fill":
            seen, masked = levels.carried(step.other, level), layout.scalar(step.number if step.number == float("-inf") else MASKED)
            rest = layout.scalar(0.0) if bias is None else bias
            bias = where(layout, seen, masked, rest) if step.when else where(layout, seen, rest, masked)
        else:
            more = levels.carried(step.other, level)
            more = negated(layout, more) if step.kind == "subtract" else more
            bias = more if bias is None else added(layout, bias, more)
    if scale == 0:
        raise Refused("its scores are multiplied with zero")
    return Parts(lead, query, key, value, bias, scale, guarded=found.guarded)


class _Levels:
    """The layouts that the scores go through, and how a bias of one of them is one of the canonical: of the product, or of the softmax, where
    that merely takes the leading axes further apart (heads out of the batch). lead: the canonical leading axes."""

    def __init__(self, found: Spelled, layout: Layout, scores: Sizes) -> None:
        self._layout, self._flipped = layout, found.flipped
        self._moves = [step.node for step in found.steps if step.kind == "layout"]
        shapes = [scores, *(sizes(node.outputs[0]) for node in self._moves)]
        if any(shape is None for shape in shapes):
            raise Refused("the shapes of its scores are not known")
        self._shapes: list[Sizes] = [shape for shape in shapes if shape is not None]
        last = self._shapes[-1]
        apart = len(last) > len(scores) and last[-2:] == scores[-2:] and not found.flipped and self._in_order(scores)
        self._canonical = len(self._moves) if apart else 0
        self.lead = self._shapes[self._canonical][:-2]
        self.steps: list[tuple[Step, int]] = []
        level = 0
        for step in found.steps:
            if step.kind == "layout":
                level += 1
            else:
                self.steps.append((step, level))

    def _in_order(self, scores: Sizes) -> bool:
        trial = trial_sizes(self._moves[0].inputs[0], *(node.outputs[0] for node in self._moves))
        seen = before = numbered(scores, trial)
        for node in self._moves:
            seen = None if seen is None else layout_of(node, seen, trial)
        return seen is not None and before is not None and bool((seen.reshape(-1) == before.reshape(-1)).all())

    def carried(self, bias: ir.Value | None, level: int) -> ir.Value:
        """`bias` of the scores at `level`, for the canonical ones, queries before keys."""
        assert bias is not None
        if sizes(bias) is None:
            raise Refused("the shape of its mask or bias is not known")
        for i in range(level, self._canonical):
            bias = self._moved(bias, self._moves[i], self._shapes[i], self._shapes[i + 1])
        for i in range(level, self._canonical, -1):
            bias = self._moved(bias, self._moves[i - 1], self._shapes[i], self._shapes[i - 1], back=True)
        if self._flipped and len(sizes(bias) or ()) > 0:
            bias = _turned(self._layout, self._layout.widen(bias, max(2, len(sizes(bias) or ()))))
        return bias

    def _moved(self, bias: ir.Value, move: ir.Node, before: Sizes, after: Sizes, back: bool = False) -> ir.Value:
        if all(size == 1 for size in sizes(bias) or ()):
            return self._layout.reshape(bias, ())
        if move.op_type == "Transpose":
            perm = list(move.attributes.get_ints("perm", tuple(range(len(before)))[::-1]))
            perm = [perm.index(axis) for axis in range(len(perm))] if back else perm
            return self._layout.transpose(self._layout.widen(bias, len(before)), perm)
        return self._layout.reshape(self._layout.expand(bias, before), after)
