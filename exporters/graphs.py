"""The graphs of a model, traced, fused and quantized, with the limits that the manifest tells: one function for each kind of model."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from zen_edge.exporters.alignment import expose_queries
from zen_edge.exporters.checkpoint import Checkpoint
from zen_edge.exporters.ctc import GRAPH, Hearing, trace_ctc
from zen_edge.exporters.fusions import fuse
from zen_edge.exporters.limits import Limits
from zen_edge.exporters.quantization import quantize
from zen_edge.exporters.reorder import reorder_graph
from zen_edge.exporters.trace import DecoderSizes, trace_decoder, trace_encoder

Tell = Callable[[str], None]
Graphs = tuple[dict[str, ir.Model], dict[str, int]]


def trace_encoder_decoder(checkpoint: Checkpoint, precision: str, tell: Tell) -> Graphs:
    sizes, limits = DecoderSizes.of(checkpoint.model), Limits.of(checkpoint.model)
    tell("trace the encoder")
    graphs = {"encoder": trace_encoder(checkpoint.model, sizes, limits)}
    tell("trace the decoder")
    graphs["decoder"] = trace_decoder(checkpoint.model, sizes, limits)
    logits = next(value for value in graphs["decoder"].graph.outputs if value.name == "logits")
    vocab_size = int(logits.shape[-1])
    tell("fuse")
    for graph in graphs.values():
        fuse(graph)
    expose_queries(graphs["decoder"], checkpoint.model.generation_config)
    tell(f"quantize to {precision}")
    for graph in graphs.values():
        quantize(graph, precision)
    graphs["reorder"] = reorder_graph(sizes)
    return graphs, {"vocab_size": vocab_size, **limits.as_dict()}


def trace_frames(checkpoint: Checkpoint, precision: str, tell: Tell) -> Graphs:
    """Of a CTC model."""
    hearing = Hearing.of(checkpoint.model, checkpoint.feature_extractor)
    tell("trace the model")
    graph = trace_ctc(checkpoint.model, hearing)
    vocab_size = int(graph.graph.outputs[0].shape[-1])
    tell("fuse")
    fuse(graph)
    tell(f"quantize to {precision}")
    quantize(graph, precision)
    return {GRAPH: graph}, hearing.limits(vocab_size)
