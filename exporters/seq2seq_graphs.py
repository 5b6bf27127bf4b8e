"""The graphs of a `Seq2Seq`: encoder and decoder, and those that move rows.

    encoder:  input_ids, attention_mask (B,T)                           ->  cross_{memory}, past_{state}
    decoder:  input_ids (R,), attention_mask (R,T), cross_{memory}, past_{state}  ->  logits (R,1,V), present_{state}, the best candidates
    reorder:  beam_index (R'), past_{state}                             ->  moved_{state}
    share:    beam_index (R'), cross_{memory}                           ->  moved_{memory}

A row has its memory to itself, so that the step is computed as it is written: `share` copies it when the beams of a text begin, and not again until a text leaves the
batch.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import torch

from zen_edge.exporters.fusions import OF_MODULES, candidates, fuse
from zen_edge.exporters.invariants import compute_once
from zen_edge.exporters.module_graph import trace_module
from zen_edge.exporters.own_module import own_module
from zen_edge.exporters.own_seq2seq import Kept, OwnSeq2Seq, encoded, flat
from zen_edge.exporters.quantization import quantize
from zen_edge.exporters.reorder import Moved, gather_graph

Tell = Callable[[str], None]
ROWS, WIDTH = 2, 5  # of what is traced; other sizes are tried by the trace itself


class Encoding(torch.nn.Module):
    """(input_ids, attention_mask (B,T)) -> everything that is handed on."""

    def __init__(self, own: OwnSeq2Seq) -> None:
        super().__init__()
        self.encoder, self._own = own.declared.encoder, own

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        found = flat(encoded(self._own.declared, input_ids, attention_mask, self._own.name))
        own = self._own
        # A state is a value of its own: the first one of the decoder and a memory may be the same tensor.
        return {f"cross_{kept.name}": found[kept.name] for kept in own.memory} | {f"past_{kept.name}": found[kept.name] for kept in own.state}


class Stepping(torch.nn.Module):
    """(input_ids (R,), attention_mask (R,T), cross_*, past_*) -> logits (R,1,V), present_*."""

    def __init__(self, own: OwnSeq2Seq) -> None:
        super().__init__()
        self.step, self._own = own.declared.step, own

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **handed: torch.Tensor) -> dict[str, torch.Tensor]:
        values = {name.partition("_")[2]: value for name, value in handed.items()}
        scores, state, _ = self._own.advance(input_ids, attention_mask, values)
        return {"logits": scores[:, None], **{f"present_{kept.name}": state[kept.name] for kept in self._own.state}}


def trace_graphs(own: OwnSeq2Seq, precision: str, device: str, tell: Tell) -> dict[str, ir.Model]:
    """All of them, fused and in `precision`."""
    ids = torch.tensor(own.source.made_up_ids(ROWS, WIDTH))
    mask = torch.ones_like(ids)
    tell("trace the encoder")
    read = {"input_ids": ids, "attention_mask": mask}
    encoder = _traced(own, "encoder", Encoding(own), read, {name: {0: "B", 1: "T"} for name in read})
    tell("trace the step")
    values = own.encode(ids, mask)
    handed = {_name(own, kept): values[kept.name] for kept in (*own.memory, *own.state)}
    axes = {"input_ids": {0: "R"}, "attention_mask": {0: "R", 1: "T"}} | {_name(own, kept): kept.axes("R") for kept in (*own.memory, *own.state)}
    token = torch.full((ROWS,), own.declared.start_token)
    decoder = _traced(own, "decoder", Stepping(own), {"input_ids": token, "attention_mask": mask, **handed}, axes)
    tell("fuse")
    fuse(decoder, OF_MODULES, device)
    compute_once(encoder, decoder)
    fuse(encoder, OF_MODULES, device)
    fuse(decoder, (candidates.apply,), device)
    graphs = {"encoder": encoder, "decoder": decoder, "reorder": _moving(decoder, "reorder", "past_")}
    if any((value.name or "").startswith("cross_") for value in decoder.graph.inputs):
        graphs["share"] = _moving(decoder, "share", "cross_")
    tell(f"quantize to {precision}")
    for graph in graphs.values():
        quantize(graph, precision)
    return graphs


def _name(own: OwnSeq2Seq, kept: Kept) -> str:
    return f"{'past' if kept in own.state else 'cross'}_{kept.name}"


def _traced(own: OwnSeq2Seq, graph: str, module: torch.nn.Module, inputs: dict[str, torch.Tensor], axes: dict[str, dict[int, str]]) -> ir.Model:
    model = trace_module(own_module(module, inputs, f"{own.name}: the {graph}"), axes).graph
    model.graph.name = graph
    return model


def _moving(decoder: ir.Model, name: str, prefix: str) -> ir.Model:
    """The graph that moves what the decoder takes under names that begin so."""
    given = [value for value in decoder.graph.inputs if (value.name or "").startswith(prefix)]
    tensors = {}
    for value in given:
        assert value.name is not None
        assert value.shape is not None
        assert value.dtype is not None
        shape = [size if isinstance(size, int) else str(size.value) for size in value.shape]
        tensors[value.name] = Moved(f"moved_{value.name.removeprefix(prefix)}", shape, value.dtype)
    return gather_graph(name, tensors)
