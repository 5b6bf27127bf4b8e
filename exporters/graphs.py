"""The graphs of a model, traced, fused and quantized, with the limits that the manifest tells: one function for each kind of model."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from zen_edge.exporters import encoders
from zen_edge.exporters.alignment import expose_queries
from zen_edge.exporters.checkpoint import Checkpoint
from zen_edge.exporters.ctc import GRAPH, Hearing, is_ctc, trace_ctc
from zen_edge.exporters.fusions import fuse
from zen_edge.exporters.limits import Limits
from zen_edge.exporters.quantization import quantize
from zen_edge.exporters.reorder import cut_graph, reorder_graph
from zen_edge.exporters.trace import DecoderSizes, trace_decoder, trace_encoder
from zen_edge.tasks import ENCODER_OUTPUTS

Tell = Callable[[str], None]
Graphs = tuple[dict[str, ir.Model], dict[str, int]]


def trace_graphs(checkpoint: Checkpoint, task: str, precision: str, device: str, tell: Tell) -> Graphs:
    if task in ENCODER_OUTPUTS:
        return _of_encoder(checkpoint, task, precision, device, tell)
    trace = _of_frames if is_ctc(checkpoint.model.config) else _of_encoder_decoder
    return trace(checkpoint, precision, device, tell)


def _of_encoder_decoder(checkpoint: Checkpoint, precision: str, device: str, tell: Tell) -> Graphs:
    sizes, limits = DecoderSizes.of(checkpoint.model), Limits.of(checkpoint.model)
    tell("trace the encoder")
    graphs = {"encoder": trace_encoder(checkpoint.model, sizes, limits)}
    tell("trace the decoder")
    graphs["decoder"] = trace_decoder(checkpoint.model, sizes, limits)
    logits = next(value for value in graphs["decoder"].graph.outputs if value.name == "logits")
    vocab_size = int(logits.shape[-1])
    tell("fuse")
    for graph in graphs.values():
        fuse(graph, device=device)
    expose_queries(graphs["decoder"], checkpoint.model.generation_config)
    graphs["reorder"] = reorder_graph(sizes)
    if device != "cpu":
        graphs["cut"] = cut_graph(sizes)
    tell(f"quantize to {precision}")
    for graph in graphs.values():
        quantize(graph, precision)
    return graphs, {"vocab_size": vocab_size, **limits.as_dict()}


def _of_frames(checkpoint: Checkpoint, precision: str, device: str, tell: Tell) -> Graphs:
    """Of a CTC model."""
    hearing = Hearing.of(checkpoint.model, checkpoint.feature_extractor)
    tell("trace the model")
    graph = trace_ctc(checkpoint.model, hearing)
    vocab_size = int(graph.graph.outputs[0].shape[-1])
    tell("fuse")
    fuse(graph, device=device)
    tell(f"quantize to {precision}")
    quantize(graph, precision)
    return {GRAPH: graph}, hearing.limits(vocab_size)


def _of_encoder(checkpoint: Checkpoint, task: str, precision: str, device: str, tell: Tell) -> Graphs:
    """Of a model that is an encoder and a head."""
    reading = encoders.Reading.of(checkpoint.model, checkpoint.tokenizer, task)
    limits = Limits.of_encoder(checkpoint.model, encoders.example_ids(checkpoint.model, checkpoint.tokenizer, task))
    tell("trace the model")
    graph = encoders.trace(checkpoint.model, task, reading, limits)
    tell("fuse")
    fuse(graph, device=device)
    tell(f"quantize to {precision}")
    quantize(graph, precision)
    return {encoders.GRAPH: graph}, {"vocab_size": int(checkpoint.model.config.vocab_size), **limits.as_dict()}
