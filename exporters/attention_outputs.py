"""The weights of attention as outputs of a graph, in a file of their own beside it.

    the graph:  ... q, k, v, seen -> MultiHeadAttention -> ...
    the file:   q, k -> Reshape, Transpose -> MatMul -> Mul(scale) (-> Add(bias)) (-> Where(seen)) (-> Where(not later)) -> Softmax -> weights (B,N,S,T)

    the graph:  ... scores -> Softmax -> ...                   of a module of one's own, where attention is written out
    the file:   its output -> Transpose, Unsqueeze -> weights (B,N,S,T)

The file is an ONNX model of these nodes and outputs alone. Two protocol buffers of a kind, one after the other, read as one in which lists are joined: the graph's
bytes and the file's are the graph with its attention. So the graph that answers stays as it was, byte for byte, no weight is stored twice, and what attention is
computed from is what that graph computes, in any precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import onnx

from zen_edge.attention import unfused
from zen_edge.attention_map import attention_file
from zen_edge.errors import UnsupportedModelError
from zen_edge.exporters import own_attention
from zen_edge.exporters.attention_weights import KEY, PAST_KEY, QUERY, given, of_operator
from zen_edge.graphs import flatten, load

KEYS = {"past_key_": "decoder", "cross_key_": "cross"}  # inputs that a decoder's keys come from, and the kind of attention to them
OWN: dict[str, Callable[[onnx.ModelProto, str], onnx.ModelProto | None]] = {"module": own_attention.of_module, "seq2seq": own_attention.of_seq2seq}
LAYOUT = {"Concat", "Reshape", "Expand", "Transpose", "Unsqueeze", "Tile", "Cast", "Identity"}


def save_attention_outputs(folder: Path, graphs: Sequence[str], model_type: str) -> None:
    """Writes the files for those graphs of the bundle in `folder` that attend: outputs `{kind}_attention_{layer}` (B,N,S,T), for one row of each input.

    UnsupportedModelError where there is no such graph; of a checkpoint also where attention is not one operator from every token to every token.
    """
    find = OWN.get(model_type, _with_weights)
    models = {name: load(folder / f"{name}.onnx") for name in graphs}
    parts = {name: part for name, model in models.items() if (part := find(model, f"{model_type}: its {name}"))}
    if not parts:
        raise UnsupportedModelError(f"{model_type} has no attention, of which a map could be drawn: leave out --with-attention.")
    for name, part in parts.items():
        (folder / attention_file(name)).write_bytes(part.SerializeToString(deterministic=True))


def _with_weights(model: onnx.ModelProto, what: str) -> onnx.ModelProto | None:
    """The nodes and outputs to add to a graph; None where it does not attend."""
    if unfused(flatten(model)):
        raise UnsupportedModelError(f"{what} has attention that is no single operator, of which no map is kept: leave out --with-attention.")
    if not (found := list(_attentions(model.graph))):
        return None
    kinds = [_kind(model, node) for node in found]
    layers = sum(value.name.startswith("past_key_") for value in model.graph.input)
    if layers and {kind: kinds.count(kind) for kind in kinds} != dict.fromkeys(KEYS.values(), layers):
        raise UnsupportedModelError(f"{what} does not attend once to the source and once to itself in every layer: leave out --with-attention.")
    shapes = {value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim] for value in model.graph.value_info}
    part, count = onnx.ModelProto(), dict.fromkeys(kinds, 0)
    for node, kind in zip(found, kinds, strict=True):
        queries, keys = (shapes.get(node.input[place], [])[:2] for place in (QUERY, KEY))
        if kind == "encoder" and queries != keys:
            raise UnsupportedModelError(f"{what} attends to a part of the tokens at a time, of which there is no map: leave out --with-attention.")
        of_operator(part.graph, node, f"{kind}_attention_{count[kind]}", by_head=kind == "cross")
        count[kind] += 1
    return part


def _attentions(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """In the order of the layers. What a branch attends to comes from outside of it."""
    for node in graph.node:
        if node.op_type == "MultiHeadAttention":
            yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _attentions(attribute.g)


def _kind(model: onnx.ModelProto, node: onnx.NodeProto) -> str:
    """By what its keys are made of, other than by projecting: keys of before, keys that the encoder made, or neither."""
    makers = {name: other for other in model.graph.node for name in other.output}
    waiting = [node.input[PAST_KEY] if given(node, PAST_KEY) else node.input[KEY]]
    while waiting:
        name = waiting.pop()
        for prefix, kind in KEYS.items():
            if name.startswith(prefix):
                return kind
        if name in makers and makers[name].op_type in LAYOUT:
            waiting.extend(makers[name].input)
    return "encoder"
