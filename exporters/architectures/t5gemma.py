"""T5Gemma: an encoder-decoder made of Gemma 2. Half of its layers attend within a sliding window, which holds everything up to its own length.

Exported is what it does with sources and targets of that length; longer ones are refused.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from transformers.models.t5gemma import modeling_t5gemma

from zen_edge.exporters.limits import Limits

NEAREST = "t5"


def refuse(config: Any) -> str | None:
    if any(side.attn_logit_softcapping is not None for side in (config.encoder, config.decoder)):
        return "caps its attention scores (attn_logit_softcapping), which the fused operators do not do; without it it is exported"
    return None


def limits(model: Any, measured: Limits) -> Limits:
    source, target = (_window(side) for side in (model.config.encoder, model.config.decoder))
    return replace(measured, source=_least(measured.source, source), target=_least(measured.target, target))


def _window(config: Any) -> int | None:
    return config.sliding_window if "sliding_attention" in config.layer_types else None


def _least(*lengths: int | None) -> int | None:
    return min((length for length in lengths if length is not None), default=None)


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    """Every layer attends to everything: within the limits it is the same."""
    attentions = [module for module in model.modules() if isinstance(module, modeling_t5gemma.T5GemmaSelfAttention)]
    with ExitStack() as stack:
        for attention in attentions:
            stack.enter_context(patch.object(attention, "sliding_window", None))
        for whole, within in (
            ("create_causal_mask", "create_sliding_window_causal_mask"),
            ("create_bidirectional_mask", "create_bidirectional_sliding_window_mask"),
        ):
            stack.enter_context(patch.object(modeling_t5gemma, within, getattr(modeling_t5gemma, whole)))
        yield
