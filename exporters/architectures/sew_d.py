"""SEW-D: SEW with DeBERTa's attention, where words and places are scored apart and the scores added."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.sew_d.modeling_sew_d import DisentangledSelfAttention, SEWDEncoder, make_log_bucket_position

from zen_edge.exporters.architectures.sew import squeezed, stretched
from zen_edge.exporters.attention import attend, replaced
from zen_edge.exporters.relative import shifted


def refuse(config: Any) -> str | None:
    return (
        None
        if config.relative_attention and not getattr(config, "conv_kernel_size", 0)
        else "without relative attention, or with a convolution among its layers, is not exported"
    )


def disentangled(
    attention: Any, hidden_states: torch.Tensor, attention_mask: torch.Tensor, rel_embeddings: torch.Tensor, **_: Any
) -> tuple[torch.Tensor, None]:
    """hidden_states (B,T,D), attention_mask (B,1,1,T), rel_embeddings (2K,D), one for each distance from -K -> (B,T,D)."""
    heads = (attention.num_attention_heads, attention.attention_head_size)
    query, key, value = (project(hidden_states) for project in (attention.query_proj, attention.key_proj, attention.value_proj))
    scale = (heads[1] * (1 + ("c2p" in attention.pos_att_type) + ("p2c" in attention.pos_att_type))) ** -0.5
    bias = torch.zeros(())
    if "c2p" in attention.pos_att_type:
        project = attention.key_proj if attention.share_att_key else attention.pos_key_proj
        bias = bias + _by_place(attention, query.unflatten(-1, heads), project(rel_embeddings).unflatten(-1, heads), 1)
    if "p2c" in attention.pos_att_type:
        project = attention.query_proj if attention.share_att_key else attention.pos_query_proj
        bias = bias + _by_place(attention, key.unflatten(-1, heads), project(rel_embeddings).unflatten(-1, heads), -1).transpose(2, 3)
    return attend(query, key, value, attention_mask[:, 0, 0], heads[0], scale, bias * scale), None


def _by_place(attention: Any, words: torch.Tensor, places: torch.Tensor, sign: int) -> torch.Tensor:
    """words (B,T,N,H), places (2K,N,H) -> (B,N,T,T): the product of each word with the place that is as far away as another, times `sign`."""
    T, span = words.shape[1], attention.pos_ebd_size
    distances = (T - 1) - torch.arange(2 * T - 1)
    if attention.position_buckets > 0 and attention.max_relative_positions > 0:
        distances = make_log_bucket_position(distances, attention.position_buckets, attention.max_relative_positions).to(torch.long)
    scores = torch.matmul(words.transpose(1, 2), places.permute(1, 2, 0))  # (B,N,T,2K)
    return shifted(scores.index_select(-1, torch.clamp(span + sign * distances, 0, 2 * span - 1)))


def _encode(encoder: SEWDEncoder, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any) -> BaseModelOutput:
    """hidden_states (B,T,D), attention_mask (B,T) -> (B,T,D)."""
    x = squeezed(encoder, hidden_states if attention_mask is None else hidden_states * attention_mask[..., None])
    factor = encoder.config.squeeze_factor
    if attention_mask is None:
        mask = torch.ones(x.shape[0], x.shape[1], dtype=torch.long)
    else:
        mask = torch.nn.functional.max_pool1d(attention_mask[:, None].float(), factor, factor)[:, 0].long()
    return BaseModelOutput(last_hidden_state=stretched(encoder, encoder.encoder(x, mask).last_hidden_state, hidden_states))


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    attention, encoders = ([m for m in model.modules() if isinstance(m, kind)] for kind in (DisentangledSelfAttention, SEWDEncoder))
    with replaced(attention, disentangled), replaced(encoders, _encode):
        yield
