"""Graph fusions on the ONNX IR: what the trace left apart that one operator, or none, does as well.

Attention itself is fused while tracing. Two fusions that ONNX Runtime knows are left out on purpose, because its CPU kernels are slower than the
operators they replace: SkipLayerNormalization (2.04 ms for 512 rows of 768, where Add and LayerNormalization take 0.24) and BiasGelu (1.81 ms for 512
rows of 3,072, where Gelu takes 1.01 and the bias costs nothing inside an int8 product). Each module here holds one fusion and draws it in its docstring; `apply(graph)` returns how often it
was made. The order matters and is the order of `PIPELINE`.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import onnx_ir.passes.common as passes

from zen_edge.exporters.fusions import (
    activations,
    arc_cosine,
    attention,
    beam_attention,
    candidates,
    einsum,
    expansions,
    fourier,
    gemms,
    group_normalization,
    largest_whole,
    packed_projections,
    query_scale,
    repeated_shapes,
    reshapes,
    rms_normalization,
    tied_head,
    transposes,
    zero_attention_bias,
    zero_bias,
)
from zen_edge.kernels import F32, known_on_cuda

PIPELINE: tuple[Callable[[ir.Graph], int], ...] = (
    zero_bias.apply,
    zero_attention_bias.apply,
    reshapes.apply,
    query_scale.apply,
    packed_projections.apply,
    tied_head.apply,
    activations.apply,
    rms_normalization.apply,
    fourier.apply,
    candidates.apply,
    beam_attention.apply,
    repeated_shapes.apply,
)

# What is faster on a CPU alone, and what a GPU takes in its place: nothing where it multiplies the rows of all beams at once.
ON_A_GPU: dict[Callable[[ir.Graph], int], Callable[[ir.Graph], int] | None] = {beam_attention.apply: None, candidates.apply: candidates.apply_plain}

# Operators by other operators, for a device that the table of kernels (zen_edge/kernels.py) has none of the first for, with numbers of this type.
SPELLINGS = (
    ("GroupNormalization", F32, group_normalization.apply),
    ("Tile", "bool", expansions.apply),
    ("ArgMax", "int32", largest_whole.apply),
    ("Acos", F32, arc_cosine.apply),
)

# Of a module of one's own: attention is written out in it, and an output called logits is an output like any other.
OF_MODULES = (gemms.apply, einsum.apply, attention.apply, transposes.apply, *(apply for apply in PIPELINE if apply is not candidates.apply))


def fuse(model: ir.Model, pipeline: tuple[Callable[[ir.Graph], int], ...] = PIPELINE, device: str = "cpu") -> dict[str, int]:
    """Apply every fusion that is for `device` to `model` in place and drop what they left without use. Returns how often each was made, by name."""
    made = {}
    spelled = tuple(apply for op, dtype, apply in SPELLINGS if device == "cuda" and not known_on_cuda(op, dtype))
    for named in (*pipeline, *spelled):
        apply = named if device == "cpu" else ON_A_GPU.get(named, named)
        if apply is None:
            continue
        made[apply.__module__.rpartition(".")[2]] = apply(model.graph)
        passes.RemoveUnusedNodesPass()(model)
        passes.TopologicalSortPass()(model)
    model.opset_imports.setdefault("com.microsoft", 1)
    passes.CommonSubexpressionEliminationPass()(model)
    passes.RemoveUnusedNodesPass()(model)
    passes.TopologicalSortPass()(model)
    return made
