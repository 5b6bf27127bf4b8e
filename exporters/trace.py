"""Trace the graphs of an encoder-decoder model with fused attention, every batch and length axis free."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import onnx_ir.passes.common as passes
import torch
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from zen_edge.errors import UnsupportedModelError, ZenEdgeError
from zen_edge.exporters.architectures import architecture, nearest_supported
from zen_edge.exporters.attention import fused
from zen_edge.exporters.experts import dense
from zen_edge.exporters.limits import Limits
from zen_edge.exporters.sources import Source, whole

OPSET = 21  # the CUDA kernels of ONNX Runtime serve 21 to 23


@dataclass(frozen=True)
class DecoderSizes:
    """L decoder layers of N heads of H numbers each; width: of the encoder's states."""

    layers: int
    heads: int
    head_size: int
    width: int

    @classmethod
    def of(cls, model: PreTrainedModel) -> DecoderSizes:
        """Measured on one token instead of read from the configuration, where every architecture names them differently."""
        start = torch.ones(1, 1, dtype=torch.long)
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        with torch.no_grad():
            out = model(**whole(model), decoder_input_ids=start, past_key_values=cache, use_cache=True, return_dict=True)
        _, heads, _, head_size = cache.self_attention_cache.layers[0].keys.shape
        return cls(len(cache.self_attention_cache.layers), heads, head_size, out.encoder_last_hidden_state.shape[-1])


def _names(kind: str, layers: int) -> list[str]:
    return [f"{kind}_{part}_{i}" for i in range(layers) for part in ("key", "value")]


def trace_encoder(model: PreTrainedModel, sizes: DecoderSizes, limits: Limits) -> ir.Model:
    """encoder graph: input_ids, attention_mask (B,T) or input_features (B,C,F) -> cross_key_i, cross_value_i (B,N,T,H); or input_values (B,F) or
    input_features (B,F,n), attention_mask (B,F) -> the same, encoder_attention_mask (B,T)."""
    source = Source.of(model)
    B, length = torch.export.Dim("B", min=1, max=2**16), torch.export.Dim(source.length, min=limits.least or source.least, max=limits.source or 2**20)
    return export_graph(
        model,
        source.encoder(model, sizes.layers),
        source.example(model),
        ({0: B, source.axis: length},) * len(source.names),
        list(source.names),
        [*_names("cross", sizes.layers), *source.returned],
        "encoder",
        trust=bool(source.returned),
    )


def trace_decoder(model: PreTrainedModel, sizes: DecoderSizes, limits: Limits) -> ir.Model:
    """decoder graph: one for the first and every later step; see `wrappers.Decoder` for its inputs and outputs."""
    L, N, H = sizes.layers, sizes.heads, sizes.head_size
    # Sizes that differ in every axis, so that no two of them are taken for the same.
    rows, inputs, length, keys, before = 6, 3, 2, 7, 9
    source = Source.of(model)
    # Some models ask whether past and new words have positions: told here that they have, so that both sides of the question need not be traced.
    most = {"R": 2**16, "B": 2**16, "T": limits.source or 2**20, "S": (limits.target or 2**20) // 2, "P": (limits.target or 2**20) // 2}
    axis = {name: torch.export.Dim(name, min=0 if name == "P" else 1, max=size) for name, size in most.items()}
    ids, mask = torch.ones(rows, length, dtype=torch.long), torch.ones(inputs, keys, dtype=torch.long)
    cross = [torch.zeros(inputs, N, keys, H) for _ in range(2 * L)]
    past = [torch.zeros(rows, N, before, H) for _ in range(2 * L)]
    shapes = (
        {0: axis["R"], 1: axis["S"]},
        *([{0: axis["B"], 1: axis["T"]}] if source.masked else []),
        [{0: axis["B"], 2: axis["T"]}] * (2 * L),
        [{0: axis["R"], 2: axis["P"]}] * (2 * L),
    )
    return export_graph(
        model,
        source.decoder(model, L, sizes.width),
        (ids, *([mask] if source.masked else []), cross, past),
        shapes,
        ["input_ids", *(["attention_mask"] if source.masked else []), *_names("cross", L), *_names("past", L)],
        ["logits", *_names("present", L)],
        "decoder",
    )


def export_graph(
    model: PreTrainedModel,
    module: torch.nn.Module,
    example: tuple[object, ...],
    shapes: Sequence[object],
    inputs: list[str],
    outputs: list[str],
    name: str,
    trust: bool = False,
    attention: Callable[[PreTrainedModel], AbstractContextManager[object]] = fused,
) -> ir.Model:
    """attention: the context that the model's attention is traced in. trust: where PyTorch cannot tell whether what it assumes of sizes holds for all of them, go on; what comes out is then to be tried at others."""
    known = architecture(model.config.model_type)
    with attention(model), dense(model), known.tracing(model), torch.no_grad(), quiet(), _refusals(model, name):
        program = torch.export.export(
            module.eval(), example, dynamic_shapes=tuple(shapes), strict=False, prefer_deferred_runtime_asserts_over_guards=trust
        )
        traced = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, input_names=inputs, output_names=outputs, verbose=False, external_data=False
        )
    assert traced is not None
    name_axes(traced.model, _given_axes(inputs, shapes))
    passes.ClearMetadataAndDocStringPass()(traced.model)  # the tracer's source lines: half of the file
    traced.model.graph.name = name
    return traced.model


@contextlib.contextmanager
def _refusals(model: PreTrainedModel, name: str) -> Iterator[None]:
    """An architecture that does what cannot be traced with free sizes is refused, in words."""
    try:
        yield
    except (ZenEdgeError, MemoryError, OSError):
        raise
    except Exception as error:
        if os.environ.get("ZEN_EDGE_DEBUG") == "1":
            raise
        kind, cause = model.config.model_type, error
        while isinstance(cause.__cause__, Exception):  # the exporter wraps what went wrong in advice on how to report it
            cause = cause.__cause__
        first = next((line.strip() for line in str(cause).splitlines() if line.strip()), "").removesuffix(".")[:200]
        sizes = re.match(r"Constraints violated \(([\w, ]+)\)", first)
        reason = f"{type(cause).__name__}: {first}" if sizes is None else f"it computes otherwise for other sizes of {sizes[1]}"
        raise UnsupportedModelError(
            f"{kind}: PyTorch cannot trace its {name} with free sizes ({reason}). The nearest that is exported: {nearest_supported(kind)}."
        ) from error


def _given_axes(names: list[str], shapes: Sequence[Any]) -> dict[str, dict[int, str]]:
    """{input: {axis: the letter it was declared free under}}"""
    flat = [one for shape in shapes for one in (shape if isinstance(shape, list) else [shape])]
    return {name: {axis: dim.__name__ for axis, dim in shape.items()} for name, shape in zip(names, flat, strict=True)}


def name_axes(model: ir.Model, given: dict[str, dict[int, str]]) -> None:
    """Put the declared letters in the place of the tracer's symbols (s43), in sums such as P+S too."""
    letters = {}
    for value in model.graph.inputs:
        for axis, letter in given[value.name].items():
            letters[str(value.shape[axis])] = letter
    values = [*model.graph.inputs, *(output for node in model.graph for output in node.outputs)]
    for value in values:
        if value.shape is not None:
            value.shape = ir.Shape([size if isinstance(size, int) or size.value is None else _renamed(size.value, letters) for size in value.shape])


def _renamed(size: str, letters: dict[str, str]) -> str:
    return re.sub(r"s\d+", lambda m: letters.get(m[0], m[0]), size).replace(" ", "")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporter's chatter off the user's terminal; what goes wrong is raised, not logged."""
    loggers = [logging.getLogger(name) for name in ("torch", "torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
