"""The few scores that a search reads, taken inside the decoder graph.

    before:  ... -> logits (R,S,V)
    after:   ... -> logits;  top_scores, top_ids (R,S,K);  log_sum_exp (R,S)

A search over 58,000 words then reads a handful of numbers per row, and the scores stay inside the runtime unless a rule needs them all.

TopK over a whole vocabulary walks it with a heap, one word at a time. Taking the maximum of each of about sqrt(V) chunks is a vector operation,
and the best K words lie in the K chunks with the largest maxima: 0.3 ms instead of 2.2 ms for 32 rows of 58,101 words on two cores. The sum is
read off a softmax, whose largest entry is 1/sum(exp(x - max)): 0.8 ms instead of 5.3 ms for ReduceLogSumExp, and only when it is asked for.
A GPU takes TopK as it is: the numbers of chunks would be counted there and wait for the CPU, which is told how many candidates there are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from zen_edge.exporters.fusions.edit import add_initializer, is_step

LARGE = 4096  # below this many words plain TopK is as fast


def chunk_size(words: int) -> int | None:
    """The divisor of V nearest to its square root that leaves both sides at least 16; None if there is none or V is small."""
    root = math.isqrt(words)
    divisors = [d for d in range(16, words // 16 + 1) if words % d == 0]
    return min(divisors, key=lambda d: abs(math.log(d / root))) if words >= LARGE and divisors else None


class _Builder:
    """Appends nodes to the end of a graph."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph

    def __call__(self, op: str, *inputs: ir.Value | None, outputs: int = 1, **attributes: Any) -> Any:
        node = ir.node(op, list(inputs), attributes, num_outputs=outputs)
        self.graph.append(node)
        return node.outputs[0] if outputs == 1 else tuple(node.outputs)

    def constant(self, name: str, *numbers: int) -> ir.Value:
        return add_initializer(self.graph, name, np.array(numbers, np.int64))


def _best(add: _Builder, logits: ir.Value, top_k: ir.Value, size: int | None) -> tuple[ir.Value, ir.Value]:
    """The K largest of the last axis and their positions, (R,S,K) each."""
    if size is None:
        return add("TopK", logits, top_k, axis=-1, outputs=2)
    words = int(logits.shape[-1])
    chunk, last = add.constant("chunk_size", size), add.constant("last_axis", -1)
    chunks = add("Reshape", logits, add.constant("chunked", 0, 0, words // size, size))  # (R,S,V/C,C)
    most = add("Min", top_k, add.constant("chunk_count", words // size))
    _, where = add("TopK", add("ReduceMax", chunks, last, keepdims=0), most, axis=-1, outputs=2)  # (R,S,K)
    few = add("GatherND", chunks, add("Unsqueeze", where, last), batch_dims=2)  # (R,S,K,C)
    scores, position = add("TopK", add("Reshape", few, add.constant("flat", 0, 0, -1)), top_k, axis=-1, outputs=2)
    start = add("Mul", add("GatherElements", where, add("Div", position, chunk), axis=-1), chunk)
    return scores, add("Add", start, add("Mod", position, chunk))


def _log_sum_exp(add: _Builder, logits: ir.Value, top_scores: ir.Value, wanted: ir.Value) -> ir.Value:
    """(R,S), or nothing, (0,0), unless it is wanted."""
    last = add.constant("last_axis", -1)
    largest = ir.node("ReduceMax", [soft := ir.node("Softmax", [logits], {"axis": -1}).outputs[0], last], {"keepdims": 0})
    best = ir.node("ReduceMax", [top_scores, last], {"keepdims": 0})
    logarithm = ir.node("Log", [largest.outputs[0]])
    total = ir.node("Sub", [best.outputs[0], logarithm.outputs[0]])
    for node in (soft.producer(), largest, best, logarithm, total):  # a name may stand once in a graph and its branches
        node.outputs[0].name = f"log_sum_exp.{node.op_type}.{'best' if node is best else ''}"
    then = ir.Graph([], [total.outputs[0]], nodes=[soft.producer(), largest, best, logarithm, total], name="sum")
    nothing = ir.node("Constant", [], {"value": ir.tensor(np.zeros((0, 0), logits.dtype.numpy()))})
    nothing.outputs[0].name = "log_sum_exp.none"
    otherwise = ir.Graph([], [nothing.outputs[0]], nodes=[nothing], name="no_sum")
    return add("If", wanted, then_branch=then, else_branch=otherwise)


def apply(graph: ir.Graph) -> int:
    return _apply(graph, in_chunks=True)


def apply_plain(graph: ir.Graph) -> int:
    """The same with TopK over the whole vocabulary."""
    return _apply(graph, in_chunks=False)


def _apply(graph: ir.Graph, in_chunks: bool) -> int:
    logits = next((value for value in graph.outputs if value.name == "logits"), None)
    if not is_step(graph) or logits is None or any(value.name == "top_scores" for value in graph.outputs):
        return 0
    assert logits.shape is not None
    assert logits.dtype is not None
    leading = list(logits.shape[:-1])
    top_k = ir.Value(name="top_k", shape=ir.Shape((1,)), type=ir.TensorType(ir.DataType.INT64))
    wanted = ir.Value(name="want_log_sum_exp", shape=ir.Shape(()), type=ir.TensorType(ir.DataType.BOOL))
    graph.inputs.extend([top_k, wanted])
    add = _Builder(graph)
    scores, ids = _best(add, logits, top_k, chunk_size(int(logits.shape[-1])) if in_chunks else None)
    total = _log_sum_exp(add, logits, scores, wanted)
    for value, name, shape, dtype in (
        (scores, "top_scores", [*leading, "K"], logits.dtype),
        (ids, "top_ids", [*leading, "K"], ir.DataType.INT64),
        (total, "log_sum_exp", leading, logits.dtype),
    ):
        value.name, value.shape, value.type = name, ir.Shape(shape), ir.TensorType(dtype)
        graph.outputs.append(value)
    return 1
