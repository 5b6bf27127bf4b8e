"""MPNet: BERT with a relative position bias that all layers share. It goes round transformers' attention interface."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.models.mpnet.modeling_mpnet import MPNetSelfAttention

from zen_edge.exporters.attention import attend, replaced


def _attention(
    attention: MPNetSelfAttention, hidden_states: torch.Tensor, attention_mask: torch.Tensor, position_bias: torch.Tensor, **_: Any
) -> tuple[torch.Tensor]:
    """hidden_states (B,T,D), attention_mask (B,1,1,T), 0 where a key may be seen, position_bias (B,N,T,T), the same for every row -> (B,T,D)."""
    query, key, value = (project(hidden_states) for project in (attention.q, attention.k, attention.v))
    scale = attention.attention_head_size**-0.5
    out = attend(query, key, value, attention_mask[:, 0, 0] == 0, attention.num_attention_heads, scale, position_bias[:1])
    return (attention.o(out),)


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    with replaced((module for module in model.modules() if isinstance(module, MPNetSelfAttention)), _attention):
        yield
