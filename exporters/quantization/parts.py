"""Which part of a model each weight of a graph belongs to, told by what it is connected with: names differ from architecture to architecture.

A product belongs to the attention that reads its output or whose output it reads, with no other product between them. Attention over
`past_key_i` is self-attention of layer i, attention over `cross_key_i` cross-attention; a product that leads to `cross_key_i` is cross-attention's too.
One that leads to an output of the graph by additions and multiplications with constants alone is a head; the rest is feed-forward.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from zen_edge.exporters.fusions.edit import constant
from zen_edge.exporters.quantization.products import Product, is_look_up

ATTENTION = {"MultiHeadAttention", "Attention", "DecoderMaskedMultiHeadAttention", "GroupQueryAttention"}
SIZES = {"Shape", "Size"}  # what depends on a size alone is not connected
KEYS = re.compile(r"(past|cross)_(?:key|value)_(\d+)")
KINDS = {"past": "self-attention", "cross": "cross-attention"}


@dataclass(frozen=True)
class Part:
    """node: a product or a look-up; product: its parts, None for a look-up."""

    group: str
    layer: int | None
    node: ir.Node
    product: Product | None


def parts(graph: ir.Graph) -> list[Part]:
    """Everything in `graph` that can be quantized, in the order of computation."""
    decodes = any(KEYS.fullmatch(value.name or "") for value in graph.inputs)
    found, layer, order = [], 0, {}
    for node in graph:
        if is_attention(node):
            layer = order[node] = _layer_of(node) if decodes else len(order)
        if is_look_up(node):
            found.append(Part("embeddings", None, node, None))
        elif product := Product.of(node):
            found.append(Part("", layer, node, product))
    return [part if part.group else _placed(part, order, decodes) for part in found]


def is_attention(node: ir.Node) -> bool:
    """Attention, or a branch with attention on either side."""
    if node.op_type != "If":
        return node.op_type in ATTENTION
    return any(inner.op_type in ATTENTION for body in bodies(node) for inner in body)


def bodies(node: ir.Node) -> Iterator[ir.Graph]:
    """The branches of `node`, of most there are none."""
    yield from (attribute.as_graph() for attribute in node.attributes.values() if attribute.type == ir.AttributeType.GRAPH)


def _read(node: ir.Node) -> Iterator[ir.Value]:
    """What `node` reads, its branches included."""
    yield from (value for value in node.inputs if value is not None)
    yield from (value for body in bodies(node) for inner in body for value in _read(inner))


def _sources(node: ir.Node) -> set[str]:
    """Names of the graph inputs that `node` reads without a product, or attention, between them."""
    names, stack, seen = set(), list(_read(node)), set()
    while stack:
        value = stack.pop()
        if value in seen:
            continue
        seen.add(value)
        maker = value.producer()
        if maker is None:
            names.add(value.name or "")
        elif maker.op_type not in SIZES and not is_attention(maker) and Product.of(maker) is None:
            stack += _read(maker)
    return names


def _kind(node: ir.Node) -> tuple[str, int] | None:
    """("self-attention", layer) or ("cross-attention", layer) of attention in a decoder."""
    told = sorted({(KINDS[found[1]], int(found[2])) for name in _sources(node) if (found := KEYS.fullmatch(name))})
    return told[0] if told else None


def _layer_of(node: ir.Node) -> int:
    kind = _kind(node)
    return kind[1] if kind else 0


def _placed(part: Part, order: dict[ir.Node, int], decodes: bool) -> Part:
    assert part.product is not None
    reached = list(_reached(part.product.output))
    given = {int(found[2]) for one in reached if isinstance(one, ir.Value) and not decodes and (found := KEYS.fullmatch(one.name or ""))}
    if given:
        return Part("cross-attention", min(given), part.node, part.product)
    read = (value.producer() for value in _behind(part.product.x))
    attention = next((node for node in [*reached, *read] if isinstance(node, ir.Node) and is_attention(node)), None)
    if attention is None and _is_head(part.product.output):
        return Part("embeddings", None, part.node, part.product)
    if not decodes:
        return Part("encoder", part.layer if attention is None else order.get(attention, part.layer), part.node, part.product)
    group, layer = (attention is not None and _kind(attention)) or ("feed-forward", part.layer)
    return Part(group, layer, part.node, part.product)


def _reached(value: ir.Value) -> Iterator[ir.Node | ir.Value]:
    """Attention and graph outputs that read `value` with no product between them."""
    stack, seen = [value], {value}
    while stack:
        value = stack.pop()
        if value.is_graph_output():
            yield value
        for use in value.uses():
            node = use.node
            if is_attention(node):
                yield node
            elif node.op_type not in SIZES and Product.of(node) is None:
                fresh = [output for output in node.outputs if output not in seen]
                stack += fresh
                seen.update(fresh)


def _behind(value: ir.Value) -> Iterator[ir.Value]:
    """Values that `value` is made from by moving numbers alone, itself first."""
    while value is not None:
        yield value
        maker = value.producer()
        computed = [] if maker is None or is_attention(maker) or Product.of(maker) else _computed(maker)
        value = computed[0] if len(computed) == 1 else None


def _computed(node: ir.Node) -> list[ir.Value]:
    """What `node` computes with, the shapes of a Reshape left out."""
    given = node.inputs[:1] if node.op_type in {"Reshape", "Expand", "Slice"} else node.inputs
    return [value for value in given if value is not None and constant(value) is None]


def _is_head(value: ir.Value) -> bool:
    """Whether an output of the graph is `value`, but for constants added or multiplied, and for numbers cut off or bent."""
    while not value.is_graph_output():
        nodes = [use.node for use in value.uses() if use.node.op_type not in SIZES]
        if len(nodes) != 1 or nodes[0].op_type not in {"Add", "Mul", "Div", "Sub", "Tanh", "Slice", "Squeeze", "Reshape", "LogSoftmax", "Softmax"}:
            return False
        if len(_computed(nodes[0])) != 1:
            return False
        value = nodes[0].outputs[0]
    return True
