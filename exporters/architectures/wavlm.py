"""WavLM: HuBERT with a relative position bias that each query opens or closes by a gate of its own. It goes round transformers' attention interface."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

from zen_edge.exporters.attention import attend, replaced
from zen_edge.exporters.relative import shifted


def _attention(
    attention: WavLMAttention,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    position_bias: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None, torch.Tensor]:
    """hidden_states (B,T,D), attention_mask (B,T), position_bias (1,N,T,T), made by the first layer -> (B,T,D), nothing, the bias."""
    B, T, _ = hidden_states.shape
    if position_bias is None:
        places = torch.arange(2 * T - 1) - (T - 1)  # of a key after a query
        values = attention.rel_attn_embed(attention._relative_positions_bucket(places))  # (2T-1, N)
        position_bias = shifted(values.transpose(0, 1)[None, :, None] + torch.zeros(1, 1, T, 1))
    heads = hidden_states.reshape(B, T, attention.num_heads, attention.head_dim).transpose(1, 2)
    open_, close = torch.sigmoid(attention.gru_rel_pos_linear(heads).reshape(B, attention.num_heads, T, 2, 4).sum(-1)).chunk(2, dim=-1)
    gate = open_ * (close * attention.gru_rel_pos_const - 1.0) + 2.0  # (B,N,T,1)
    query, key, value = (project(hidden_states) for project in (attention.q_proj, attention.k_proj, attention.v_proj))
    out = attend(query, key, value, attention_mask, attention.num_heads, attention.scaling, gate * position_bias)
    return attention.out_proj(out), None, position_bias


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    with replaced((module for module in model.modules() if isinstance(module, WavLMAttention)), _attention):
        yield
