"""The fused attention operator for queries, keys and values with any leading axes, and arithmetic of what is added to its scores.

The last of several leading axes is taken for heads where its size is fixed, the others are the batch; a single one is the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from zen_edge.exporters.fusions.edit import MICROSOFT
from zen_edge.exporters.fusions.shaped import Layout, Refused, Size, Sizes, sizes

MASKED = -1e30  # in the place of any finite number that masks: whatever score is added to it, it stays what it is
LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True)
class Parts:
    """query (lead...,S,H), key (lead...,T,H), value (lead...,T,V), whose leading axes may be fewer or 1; bias: what is added to the scores, repeating
    to (lead...,S,T). guarded: rows of NaN become zeros."""

    lead: Sizes
    query: ir.Value
    key: ir.Value
    value: ir.Value
    bias: ir.Value | None
    scale: float
    causal: bool = False
    guarded: bool = False


def emit(layout: Layout, parts: Parts) -> ir.Value:
    """-> (lead...,S,V)."""
    S, H = _known(parts.query)[-2:]
    T, width = _known(parts.value)[-2:]
    if not isinstance(H, int) or not isinstance(width, int):
        raise Refused("the size of its heads is not fixed")
    heads = parts.lead[-1] if len(parts.lead) > 1 and isinstance(parts.lead[-1], int) else 1
    batch = parts.lead[:-1] if len(parts.lead) > 1 and isinstance(parts.lead[-1], int) else parts.lead
    query, key, value = (_joined(layout, x, parts.lead, batch, heads) for x in (parts.query, parts.key, parts.value))
    bias, causal = parts.bias, parts.causal
    if causal and S != T:
        bias, causal = _triangle(layout, S, T, parts.query), False
    if bias is not None:
        bias = _laid_out(layout, bias, parts.lead, batch, (S, T))
    attributes = {"num_heads": heads, "scale": parts.scale, "mask_filter_value": LOWEST} | ({"unidirectional": 1} if causal else {})
    inputs = [query, key, value, *([None, None, bias] if bias is not None else [])]
    rows = _known(query)[0]
    out = layout.add("MultiHeadAttention", inputs, (rows, S, heads * width), query, MICROSOFT, **attributes)
    if parts.guarded:
        missing = layout.add("IsNaN", [out], _known(out), out)
        missing.type = ir.TensorType(ir.DataType.BOOL)
        out = layout.add("Where", [missing, layout.scalar(0.0), out], _known(out), out)
    if heads > 1:
        out = layout.transpose(layout.reshape(out, (rows, S, heads, width)), [0, 2, 1, 3])
    return layout.reshape(out, (*parts.lead, S, width))


def _known(x: ir.Value) -> Sizes:
    found = sizes(x)
    if found is None:
        raise Refused("a shape of it is not known")
    return found


def _product(shape: Sizes) -> Size:
    """The size of several axes as one."""
    if all(isinstance(size, int) for size in shape):
        return int(np.prod([int(size) for size in shape], dtype=np.int64))
    others = [size for size in shape if size != 1]
    return others[0] if len(others) == 1 else "*".join(f"({size})" for size in others)


def _joined(layout: Layout, x: ir.Value, lead: Sizes, batch: Sizes, heads: int) -> ir.Value:
    """(lead...,S,H) -> (B,S,N*H), as the operator takes it."""
    *_, S, H = _known(x)
    x = layout.expand(x, (*lead, S, H))
    rows = _product(batch)
    if heads == 1:
        return layout.reshape(x, (rows, S, H))
    by_word = layout.transpose(layout.reshape(x, (rows, heads, S, H)), [0, 2, 1, 3])
    return layout.reshape(by_word, (rows, S, heads * int(H)))


def _laid_out(layout: Layout, bias: ir.Value, lead: Sizes, batch: Sizes, last: Sizes) -> ir.Value:
    """What repeats to (lead...,S,T) -> (B|1,N|1,S,T): the operator repeats batch and heads, and never queries or keys."""
    if wider(_known(bias), (*lead, *last)) != (*lead, *last):
        raise Refused("its mask or bias has more axes or sizes than its scores")
    bias = layout.widen(bias, len(lead) + 2)
    known = _known(bias)
    heads = known[len(batch) : -2] or (1,)
    rows = known[: len(batch)]
    if any(size != 1 for size in rows) and rows != batch and len(batch) > 1:
        rows = batch
    bias = layout.expand(bias, (*rows, *known[len(batch) : -2], *last))
    return layout.reshape(bias, (_product(rows), *heads, *last))


def _triangle(layout: Layout, S: Size, T: Size, like: ir.Value) -> ir.Value:
    """(S,T): what is added so that a query sees no key after its own place, counted from the first key."""
    low = layout.add("Expand", [layout.scalar(float("-inf")), layout.shape((S, T))], (S, T), like)
    return layout.add("Trilu", [low, layout.scalar_integer(1)], (S, T), low, upper=1)


def wider(one: Sizes, other: Sizes) -> Sizes:
    """The shape that both repeat to."""
    rank = max(len(one), len(other))
    pairs = zip((1,) * (rank - len(one)) + one, (1,) * (rank - len(other)) + other, strict=True)
    found = []
    for a, b in pairs:
        if a != b and 1 not in (a, b):
            raise Refused(f"its mask or bias has a size {a} where its scores have {b}")
        found.append(b if a == 1 else a)
    return tuple(found)


def added(layout: Layout, a: ir.Value, b: ir.Value) -> ir.Value:
    return layout.add("Add", [a, b], wider(_known(a), _known(b)), a)


def times(layout: Layout, a: ir.Value, b: ir.Value) -> ir.Value:
    return layout.add("Mul", [a, b], wider(_known(a), _known(b)), a)


def negated(layout: Layout, x: ir.Value) -> ir.Value:
    return layout.add("Neg", [x], _known(x), x)


def where(layout: Layout, test: ir.Value, yes: ir.Value, no: ir.Value) -> ir.Value:
    return layout.add("Where", [test, yes, no], wider(_known(test), wider(_known(yes), _known(no))), yes)
