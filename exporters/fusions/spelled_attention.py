"""Attention as people write it, found in a graph: softmax(scale * Q K^T + bias) V in any layout.

From each softmax the scores are followed up to the product of queries and keys, through scales, biases, masks and changes of layout, and its weights down
to their product with the values. `find` answers with the parts, or with a sentence that says why it is not one operator.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zen_edge.exporters.fusions.edit import constant
from zen_edge.exporters.fusions.shaped import Sizes, sizes

LAYOUT = {"Reshape", "Transpose", "Unsqueeze", "Squeeze", "Flatten"}
NOTHING = {"Identity", "Dropout"}
LOW = -1e4  # a score replaced by this or less gets no weight at all, whatever the others are
PRIMES = (5, 7, 11, 13, 17, 19, 23, 29, 31, 37)  # sizes to try layouts with
LARGEST = 2**25  # scores of one try


Numbered = NDArray[np.int64]


@dataclass(frozen=True)
class Step:
    """What happens to the scores on their way to the softmax. scale: times `number`, or times `other`, one number that is computed. add, subtract: of
    `other`. fill: with `number` where `other` is true (`when`) or false. layout: of `node`. value: the scores after it."""

    kind: Literal["scale", "add", "subtract", "fill", "layout"]
    value: ir.Value
    node: ir.Node
    other: ir.Value | None = None
    number: float = 1.0
    when: bool = True


@dataclass(frozen=True)
class Spelled:
    """softmax(steps(product)) V. product: the node that multiplies queries and keys; flipped: keys with queries. steps: in the order of computation.
    guarded: rows without any key weigh nothing, where they would be NaN. weighing: the product with the values (flipped: of the transposed values with
    the transposed weights)."""

    softmax: ir.Node
    product: ir.Node
    steps: tuple[Step, ...]
    flipped: bool
    guarded: bool
    weighing: ir.Node
    weighing_flipped: bool


def find(softmax: ir.Node) -> Spelled | str | None:
    """The attention around `softmax`, or why it is not one that can be fused; None for a softmax that is no attention."""
    found_up = _up(softmax.inputs[0])
    found_down = _down(softmax.outputs[0])
    if isinstance(found_up, str) or isinstance(found_down, str):
        return found_up if isinstance(found_up, str) else found_down if isinstance(found_down, str) else None
    product, steps = found_up
    weighing, layouts, guarded = found_down
    if _is_table(product.inputs[0]) or _is_table(product.inputs[1]):
        return None
    values = weighing.inputs[1 if weighing.inputs[0] is layouts[-1] else 0]
    if _is_table(values):
        return None
    dtype = softmax.outputs[0].dtype
    if dtype != ir.DataType.FLOAT:
        return f"it computes in {str(dtype).lower() if dtype else 'an unknown type'}, and the operator in float32 only"
    turned = _turned(softmax, product, steps, layouts)
    if isinstance(turned, str):
        return turned
    flipped, weights_flipped = turned
    first = weighing.inputs[0] is layouts[-1]
    if first == weights_flipped:
        return "its softmax runs over another axis than the one that is summed over with the values"
    return Spelled(softmax, product, steps, flipped, guarded, weighing, not first)


def _users(value: ir.Value) -> list[ir.Node]:
    """The nodes that read the numbers of `value`, not merely its shape."""
    return [use.node for use in value.uses() if use.node.op_type != "Shape"]


def _is_product(node: ir.Node | None) -> bool:
    return node is not None and node.op_type == "MatMul" and not node.domain


def _is_table(value: ir.Value | None) -> bool:
    """A matrix of weights: what it multiplies is a projection."""
    tensor = constant(value)
    return tensor is not None and len(tensor.shape) <= 2


def one_number(value: ir.Value | None) -> float | None:
    tensor = constant(value)
    return float(tensor.numpy().item()) if tensor is not None and tensor.size == 1 else None


def _is_one_number(value: ir.Value | None) -> bool:
    known = sizes(value)
    return known is not None and all(size == 1 for size in known)


def _up(value: ir.Value | None) -> tuple[ir.Node, tuple[Step, ...]] | str:
    """From scores to the product they come from."""
    node = None if value is None else value.producer()
    if value is None or node is None or node.domain:
        return "its scores are not computed from queries and keys"
    used = _users(value)
    # A softmax made stable by hand reads the largest score as well.
    if value.is_graph_output() or len([one for one in used if one.op_type != "ReduceMax"]) != 1:
        return "its scores are used elsewhere too"
    if _is_product(node):
        return node, ()
    reason = f"its scores go through {node.op_type} before the softmax"
    for step, onward in _steps(node):
        above = _up(onward)
        if not isinstance(above, str):
            return above[0], (*above[1], step)
        reason = above
    return reason


def _steps(node: ir.Node) -> Iterator[tuple[Step, ir.Value | None]]:
    """`node` as a step, with the value that it is a step for: scores or a bias may stand on either side."""
    out, inputs, kind = node.outputs[0], node.inputs, node.op_type
    if kind in LAYOUT:
        yield Step("layout", out, node), inputs[0]
    elif kind in NOTHING or (kind == "Cast" and inputs[0] is not None and inputs[0].dtype == out.dtype):
        above = inputs[0]
        maker = above.producer() if above is not None else None
        if maker is not None:
            yield from _steps(maker) if not _is_product(maker) else iter([(Step("scale", out, node, number=1.0), above)])
    elif kind == "Mul":
        for x, other in (inputs, tuple(reversed(inputs))):
            number = one_number(other)
            if number is not None:
                yield Step("scale", out, node, number=number), x
            elif _is_one_number(other):
                yield Step("scale", out, node, other), x
    elif kind == "Div":
        number = one_number(inputs[1])
        if number:
            yield Step("scale", out, node, number=1 / number), inputs[0]
    elif kind == "Neg":
        yield Step("scale", out, node, number=-1.0), inputs[0]
    elif kind == "Add":
        for x, other in (inputs, tuple(reversed(inputs))):
            yield Step("add", out, node, other), x
    elif kind == "Sub":
        largest = inputs[1].producer() if inputs[1] is not None else None
        if largest is not None and largest.op_type == "ReduceMax" and largest.inputs[0] is inputs[0]:
            yield Step("scale", out, node, number=1.0), inputs[0]  # changes nothing after a softmax
        else:
            yield Step("subtract", out, node, inputs[1]), inputs[0]
    elif kind == "Where":
        for x, fill, when in ((inputs[2], inputs[1], True), (inputs[1], inputs[2], False)):
            number = one_number(fill)
            if number is not None and number <= LOW:
                yield Step("fill", out, node, inputs[0], number, when), x


def _down(weights: ir.Value) -> tuple[ir.Node, list[ir.Value], bool] | str:
    """From weights to the product with the values: that node, the weights after each change of layout, the first as the softmax gave them, and
    whether rows of NaN are made zeros."""
    value, layouts, guarded = weights, [weights], False
    while True:
        used = _users(value)
        if not guarded and (after := _guard(value, used)) is not None:
            guarded, value = True, after
            layouts.append(value)
            continue
        if value.is_graph_output():
            return "its weights are returned too"
        if not used:
            return "its weights are not used"
        if len(used) > 1 or (_is_product(used[0]) and used[0].inputs[0] is used[0].inputs[1]):
            return "its weights are used more than once"
        (node,) = used
        if _is_product(node):
            return node, layouts, guarded
        if node.domain or node.op_type not in LAYOUT | NOTHING | {"Cast"} or node.outputs[0].dtype != value.dtype:
            return f"its weights go through {node.op_type} before they meet the values"
        value = node.outputs[0]
        layouts.append(value)


def _guard(value: ir.Value, used: list[ir.Node]) -> ir.Value | None:
    """The value without NaN, if that is what is made of `value`: Where(IsNaN(x), 0, x)."""
    if value.is_graph_output() or sorted(node.op_type for node in used) != ["IsNaN", "Where"]:
        return None
    test, where = sorted(used, key=lambda node: node.op_type)
    return where.outputs[0] if where.inputs[0] is test.outputs[0] and where.inputs[2] is value and one_number(where.inputs[1]) == 0 else None


def layout_of(node: ir.Node, array: Numbered, trial: dict[str, int]) -> Numbered | None:
    """What a change of layout makes of an array of the trial sizes; None if the sizes after it are not known."""
    if node.op_type == "Transpose":
        return array.transpose(node.attributes.get_ints("perm", tuple(range(array.ndim))[::-1]))
    shape = tried(sizes(node.outputs[0]), trial)
    return None if shape is None or np.prod(shape) != array.size else array.reshape(shape)


def trial_sizes(*values: ir.Value | None) -> dict[str, int]:
    """A prime for every symbol in the shapes of `values`."""
    symbols = sorted(
        {symbol for value in values for size in sizes(value) or () if isinstance(size, str) for symbol in re.findall(r"[A-Za-z_]\w*", size)}
    )
    return dict(zip(symbols, PRIMES, strict=False))


def numbered(shape: Sizes | None, trial: dict[str, int]) -> Numbered | None:
    """A number for every place of an array of the trial sizes; None where these are not known."""
    known = tried(shape, trial)
    return None if known is None else np.arange(np.prod(known), dtype=np.int64).reshape(known)


def tried(shape: Sizes | None, trial: dict[str, int]) -> tuple[int, ...] | None:
    """The numbers of a shape; None for one that is unknown or no sum or product of the trial sizes."""
    if shape is None:
        return None
    found = []
    for size in shape:
        if isinstance(size, int):
            found.append(size)
        elif re.fullmatch(r"[\w\s+*/()-]+", size) and set(re.findall(r"[A-Za-z_]\w*", size)) <= trial.keys():
            found.append(int(eval(size, {"__builtins__": {}}, trial)))
        else:
            return None
    return tuple(found)


def _turned(softmax: ir.Node, product: ir.Node, steps: tuple[Step, ...], layouts: list[ir.Value]) -> tuple[bool, bool] | str:
    """Whether the product has the keys in its rows, and whether the weights meet the values transposed, by trying the layouts on numbered scores."""
    scores, last = product.outputs[0], softmax.outputs[0]
    rank = len(last.shape) if last.shape is not None else 0
    axis = softmax.attributes.get_int("axis", -1) % max(rank, 1)
    moves = [step.node for step in steps if step.kind == "layout"]
    later = [value.producer() for value in layouts[1:]]
    after = [node for node in later if node is not None and node.op_type in LAYOUT]
    if not moves and not after:
        if axis == rank - 1:
            return False, False
        return "its softmax runs over another axis than the keys"
    trial = trial_sizes(scores, *(node.outputs[0] for node in (*moves, *after)))
    shape = tried(sizes(scores), trial)
    if shape is None or len(shape) < 2:
        return "the shape of its scores is not known"
    if np.prod(shape) > LARGEST:
        return f"its scores are laid out anew and too many to follow ({'x'.join(map(str, shape))})"
    scored = np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
    seen = scored
    for node in moves:
        laid = layout_of(node, seen, trial)
        if laid is None:
            return f"what {node.op_type} makes of its scores is not known"
        seen = laid
    along = np.moveaxis(seen, axis, -1).reshape(-1, seen.shape[axis])
    apart = np.diff(along, axis=1)
    keys_last = along.shape[1] == shape[-1] and bool((apart == 1).all() and (along[:, 0] % shape[-1] == 0).all())
    keys_first = not keys_last and along.shape[1] == shape[-2] and bool((apart == shape[-1]).all())
    if not keys_last and not keys_first:
        return "its softmax runs over another axis than the keys"
    for node in after:
        laid = layout_of(node, seen, trial)
        if laid is None:
            return f"what {node.op_type} makes of its weights is not known"
        seen = laid
    straight = scored if keys_last else scored.swapaxes(-1, -2)  # (..., S, T)
    if seen.ndim >= 2 and np.array_equal(seen.reshape(-1), straight.reshape(-1)) and seen.shape[-2:] == straight.shape[-2:]:
        return keys_first, False
    other = straight.swapaxes(-1, -2)
    if seen.ndim >= 2 and np.array_equal(seen.reshape(-1), other.reshape(-1)) and seen.shape[-2:] == other.shape[-2:]:
        return keys_first, True
    return "its weights meet the values in another order than queries, keys"
