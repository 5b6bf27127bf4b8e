"""BigBird-Pegasus: trained to summarize. Its encoder attends to everything in short sources, and within sparse blocks in long ones.

Exported is what it does with short sources, up to the length at which transformers itself goes over to blocks; longer ones are refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from transformers.models.bigbird_pegasus.modeling_bigbird_pegasus import BigBirdPegasusSelfAttention

from zen_edge.exporters import last_end
from zen_edge.exporters.attention import fused_attention, replaced
from zen_edge.exporters.limits import Limits

TASK = "summarization"
NOTE = "taken for summarization, as most BigBird-Pegasus checkpoints are; give --task for another"


def limits(model: Any, measured: Limits) -> Limits:
    config = model.config
    if config.attention_type != "block_sparse":
        return measured
    return replace(measured, source=min(measured.source, (5 + 2 * config.num_random_blocks) * config.block_size))


def _attention(attention: BigBirdPegasusSelfAttention, hidden_states: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> Any:
    """hidden_states (B,T,D) -> (B,T,D)"""
    shape = (*hidden_states.shape[:2], attention.num_attention_heads, attention.attention_head_size)
    heads = [project(hidden_states).view(shape).transpose(1, 2) for project in (attention.query, attention.key, attention.value)]
    out, _ = fused_attention(attention, *heads, attention_mask)
    return out.flatten(2), None


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    model.get_encoder().set_attention_type("original_full")
    attentions = [module for module in model.modules() if isinstance(module, BigBirdPegasusSelfAttention)]
    with replaced(attentions, _attention), last_end.tracing(model):
        yield
