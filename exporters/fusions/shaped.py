"""New nodes with shapes: what a fusion needs that lays values out anew.

Sizes are numbers or the names of symbolic ones, as everywhere; a shape that no numbers tell is read off the values that have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from zen_edge.exporters.fusions.edit import add_initializer, insert

Size = int | str
Sizes = tuple[Size, ...]


class Refused(Exception):
    """A fusion that cannot be made after all; the reason in words."""


def sizes(value: ir.Value | None) -> Sizes | None:
    """None where even one is unknown."""
    if value is None or value.shape is None:
        return None
    found = tuple(size if isinstance(size, int) else size.value for size in value.shape)
    return None if any(size is None for size in found) else found  # type: ignore[return-value]


class Layout:
    """Nodes in front of `before`, whose outputs have shapes. sources: values in front of it that sizes are read off, where the graph's inputs
    do not have them."""

    def __init__(self, before: ir.Node, sources: Sequence[ir.Value]) -> None:
        assert before.graph is not None
        self.before, self.graph, self.sources = before, before.graph, sources

    def add(self, op: str, inputs: Sequence[ir.Value | None], shape: Sizes, like: ir.Value, domain: str = "", **attributes: Any) -> ir.Value:
        (out,) = insert(self.before, op, inputs, attributes, domain=domain)
        out.shape, out.type = ir.Shape(shape), like.type
        return out

    def numbers(self, *values: int) -> ir.Value:
        return add_initializer(self.graph, f"sizes.{'x'.join(map(str, values))}", np.array(values, np.int64))

    def scalar(self, value: float) -> ir.Value:
        return add_initializer(self.graph, f"number.{value!r}", np.array(value, np.float32))

    def scalar_integer(self, value: int) -> ir.Value:
        return add_initializer(self.graph, f"number.{value}", np.array(value, np.int64))

    def widen(self, x: ir.Value, rank: int) -> ir.Value:
        """Axes of size 1 in front, up to `rank`."""
        old = sizes(x)
        assert old is not None
        return self.reshape(x, (*(1,) * (rank - len(old)), *old))

    def regroup(self, x: ir.Value, old: Sizes, new: Sizes) -> ir.Value:
        """(old...,S,H), or what repeats to it -> (new...,S,H): the same rows, their leading axes in other groups."""
        known = sizes(x)
        assert known is not None
        return x if old == new else self.reshape(self.expand(x, (*old, *known[-2:])), (*new, *known[-2:]))

    def transpose(self, x: ir.Value, perm: Sequence[int]) -> ir.Value:
        """One transpose, or none, in the place of those that `x` went through before."""
        perm = list(perm)
        while (maker := x.producer()) is not None and maker.op_type == "Transpose" and not maker.domain and "perm" in maker.attributes:
            before = maker.attributes["perm"].as_ints()
            perm = [before[axis] for axis in perm]
            (x,) = maker.inputs  # type: ignore[assignment]
        if perm == sorted(perm):
            return x
        old = sizes(x)
        assert old is not None
        return self.add("Transpose", [x], tuple(old[axis] for axis in perm), x, perm=perm)

    def reshape(self, x: ir.Value, shape: Sizes) -> ir.Value:
        old = sizes(x)
        assert old is not None
        maker = x.producer()
        if maker is not None and maker.op_type == "Reshape" and not maker.domain and sizes(maker.inputs[0]) is not None:
            x = maker.inputs[0]  # type: ignore[assignment]
            old = sizes(x)
            assert old is not None
        return x if old == shape else self.add("Reshape", [x, self._target(old, shape)], shape, x)

    def _target(self, old: Sizes, shape: Sizes) -> ir.Value:
        kept: list[Size] = [0 if i < len(old) and size == old[i] else size for i, size in enumerate(shape)]
        left = [size for size in kept if isinstance(size, str)]
        if len(left) > 1:  # all but the first: it may be a product that no value has
            return self.shape(tuple(-1 if isinstance(size, str) and i == kept.index(left[0]) else size for i, size in enumerate(kept)))
        return self.numbers(*(-1 if isinstance(size, str) else size for size in kept))

    def expand(self, x: ir.Value, shape: Sizes) -> ir.Value:
        """`x`, of that many axes or fewer, repeated where it has 1."""
        return x if sizes(x) == shape else self.add("Expand", [x, self.shape(shape)], shape, x)

    def shape(self, shape: Sizes) -> ir.Value:
        """A shape as a value (rank,)."""
        if all(isinstance(size, int) for size in shape):
            return self.numbers(*(size for size in shape if isinstance(size, int)))
        parts = [self.numbers(size) if isinstance(size, int) else self._read(size) for size in shape]
        (out,) = insert(self.before, "Concat", parts, {"axis": 0})
        out.shape, out.type = ir.Shape((len(shape),)), ir.TensorType(ir.DataType.INT64)
        return out

    def _read(self, size: str) -> ir.Value:
        for source in (*self.graph.inputs, *self.sources):
            known = sizes(source)
            if known is not None and size in known:
                axis = known.index(size)
                (out,) = insert(self.before, "Shape", [source], {"start": axis, "end": axis + 1})
                out.shape, out.type = ir.Shape((1,)), ir.TensorType(ir.DataType.INT64)
                return out
        raise Refused(f"a size of its scores ({size}) cannot be read off its queries, keys or values, nor off the inputs")
