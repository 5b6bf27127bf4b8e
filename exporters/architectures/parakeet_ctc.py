"""Parakeet's CTC models: a conformer over log-mel frames, whose relative positions are laid out in a way that can be traced."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.models.parakeet.modeling_parakeet import ParakeetEncoderAttention, ParakeetEncoderRelPositionalEncoding

from zen_edge.exporters.attention import attend, replaced
from zen_edge.exporters.relative import shifted


def _attention(
    attention: ParakeetEncoderAttention,
    hidden_states: torch.Tensor,
    position_embeddings: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """hidden_states (B,T,D), position_embeddings (1,2T-1,D), attention_mask (B,1,T,T), True where both frames are sound -> (B,T,D).

    Frames of padding attend to the others as well here; nothing that is returned depends on what they become.
    """
    heads = (attention.config.num_attention_heads, attention.head_dim)
    query, key, value = (project(hidden_states) for project in (attention.q_proj, attention.k_proj, attention.v_proj))
    seen = None if attention_mask is None else attention_mask.any(dim=2)[:, 0]  # (B,T)
    places = attention.relative_k_proj(position_embeddings)[0].unflatten(-1, heads).permute(1, 2, 0)  # (N,H,2T-1)
    scores = torch.matmul((query.unflatten(-1, heads) + attention.bias_v).transpose(1, 2), places)
    out = attend(query + attention.bias_u.flatten(), key, value, seen, heads[0], attention.scaling, shifted(scores) * attention.scaling)
    return attention.o_proj(out), None


def _places(module: ParakeetEncoderRelPositionalEncoding, hidden_states: torch.Tensor) -> torch.Tensor:
    """(B,T,D) -> (1,2T-1,D), of T-1 places before a query down to T-1 after it; the same for every input."""
    T = hidden_states.shape[1]
    angles = ((T - 1) - torch.arange(2 * T - 1))[:, None].float() * module.inv_freq
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[None]


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    attention, places = (
        [m for m in model.modules() if isinstance(m, kind)] for kind in (ParakeetEncoderAttention, ParakeetEncoderRelPositionalEncoding)
    )
    with replaced(attention, _attention), replaced(places, _places):
        yield
