"""What a graph computes of the sizes of its tensors, in symbols: P+S keys, S numbers from P on.

A decoder that counts its past reads P off a tensor's shape and adds; what follows from that is known here without running it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import onnx_ir as ir

FEW = 16  # numbers; a tensor of more is no list of sizes


@dataclass(frozen=True)
class Sum:
    """A whole number: times each of some symbols, and a constant under ""."""

    terms: tuple[tuple[str, int], ...] = ()

    @staticmethod
    def of(terms: dict[str, int]) -> Sum:
        return Sum(tuple(sorted((name, times) for name, times in terms.items() if times)))

    @staticmethod
    def size(value: int | str) -> Sum:
        """Of an axis: a number, or names with + between them; anything else is a symbol of its own."""
        if isinstance(value, int):
            return Sum.of({"": value})
        names = value.split("+") if re.fullmatch(r"\w+(\+\w+)*", value) else [value]
        total = Sum()
        for name in names:
            total = total.plus(Sum.of({"": int(name)} if name.isdecimal() else {name: 1}))
        return total

    def plus(self, other: Sum, times: int = 1) -> Sum:
        terms = dict(self.terms)
        for name, count in other.terms:
            terms[name] = terms.get(name, 0) + times * count
        return Sum.of(terms)

    def counts(self, symbol: str) -> int:
        return dict(self.terms).get(symbol, 0)

    @property
    def constant(self) -> int | None:
        """The number; None where there is a symbol in it."""
        return self.counts("") if all(not name for name, _ in self.terms) else None


@dataclass(frozen=True)
class Numbers:
    """A list of sums, (len,), or one alone, ()."""

    each: tuple[Sum, ...]
    alone: bool = False


@dataclass(frozen=True)
class Run:
    """Numbers one after another, `length` from `start` on, along one axis of a tensor whose others are 1. shape: rank and that axis."""

    start: Sum
    length: Sum
    rank: int = 1
    axis: int = 0


@dataclass
class Lengths:
    """What is known of values of whole numbers; `of` is None where nothing is."""

    known: dict[ir.Value, Numbers | Run] = field(default_factory=dict)

    def of(self, value: ir.Value | None) -> Numbers | Run | None:
        if value is None or value in self.known:
            return None if value is None else self.known[value]
        tensor = value.const_value
        if tensor is None or len(tensor.shape) > 1 or tensor.dtype not in (ir.DataType.INT64, ir.DataType.INT32) or tensor.size > FEW:
            return None
        return Numbers(tuple(Sum.of({"": int(number)}) for number in tensor.numpy().reshape(-1)), not len(tensor.shape))

    def one(self, value: ir.Value | None) -> Sum | None:
        """Of a value that is one number."""
        found = self.of(value)
        return found.each[0] if isinstance(found, Numbers) and len(found.each) == 1 else None

    def constants(self, value: ir.Value | None) -> list[int] | None:
        found = self.of(value)
        if not isinstance(found, Numbers):
            return None
        numbers = [one.constant for one in found.each]
        return None if any(number is None for number in numbers) else numbers  # type: ignore[return-value]


def lengths(graph: ir.Graph) -> Lengths:
    """Of all values of `graph`, whose nodes are in order."""
    found = Lengths()
    for node in graph:
        known = _of_node(node, found)
        if known is not None:
            found.known[node.outputs[0]] = known
    return found


def _of_node(node: ir.Node, found: Lengths) -> Numbers | Run | None:
    if node.domain:
        return None
    inputs = list(node.inputs)
    match node.op_type:
        case "Shape":
            return _shape(node)
        case "Identity":
            return found.of(inputs[0])
        case "Cast":
            return found.of(inputs[0]) if node.attributes["to"].as_int() in (ir.DataType.INT64, ir.DataType.INT32) else None
        case "Squeeze" | "Unsqueeze" | "Reshape":
            return _laid_out(node, found)
        case "Concat":
            parts = [found.of(value) for value in inputs]
            return Numbers(tuple(one for part in parts for one in part.each)) if all(isinstance(part, Numbers) for part in parts) else None  # type: ignore[union-attr]
        case "Gather":
            return _picked(node, found)
        case "Add" | "Sub":
            return _summed(found.of(inputs[0]), found.of(inputs[1]), 1 if node.op_type == "Add" else -1)
        case "Range":
            start, end, step = map(found.one, inputs)
            return None if start is None or end is None or step is None or step.constant != 1 else Run(start, end.plus(start, -1))
    return None


def _shape(node: ir.Node) -> Numbers | None:
    value = node.inputs[0]
    if value is None or value.shape is None:
        return None
    given = {name: attribute.as_int() for name, attribute in node.attributes.items()}
    sizes = [size if isinstance(size, int) else size.value for size in value.shape][given.get("start", 0) : given.get("end")]
    return None if any(size is None for size in sizes) else Numbers(tuple(Sum.size(size) for size in sizes))  # type: ignore[arg-type]


def _laid_out(node: ir.Node, found: Lengths) -> Numbers | Run | None:
    known, output = found.of(node.inputs[0]), node.outputs[0]
    if isinstance(known, Numbers):
        rank = None if output.shape is None else len(output.shape)
        return Numbers(known.each, rank == 0) if len(known.each) == 1 and rank is not None and rank <= 1 else None
    axes = found.constants(node.inputs[1]) if isinstance(known, Run) and node.op_type == "Unsqueeze" else None
    if not isinstance(known, Run) or axes is None:
        return None
    rank = known.rank + len(axes)
    taken = {axis % rank for axis in axes}
    kept = [axis for axis in range(rank) if axis not in taken]
    return Run(known.start, known.length, rank, kept[known.axis])


def _picked(node: ir.Node, found: Lengths) -> Numbers | None:
    known, places = found.of(node.inputs[0]), found.of(node.inputs[1])
    which = found.constants(node.inputs[1])
    if not isinstance(known, Numbers) or not isinstance(places, Numbers) or which is None:
        return None
    return Numbers(tuple(known.each[place] for place in which), places.alone)


def _summed(a: Numbers | Run | None, b: Numbers | Run | None, sign: int) -> Numbers | Run | None:
    if isinstance(b, Run) and sign == 1:
        a, b = b, a
    if not isinstance(b, Numbers) or len(b.each) != 1 or a is None:
        return None
    if isinstance(a, Run):
        return Run(a.start.plus(b.each[0], sign), a.length, a.rank, a.axis)
    return Numbers((a.each[0].plus(b.each[0], sign),), a.alone and b.alone) if len(a.each) == 1 else None
