"""Wav2Vec2-Conformer: relative positions are scores of their own, laid out by a trick of shapes that is said here in a way that can be traced."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from transformers.models.wav2vec2_conformer import modeling_wav2vec2_conformer as modeling

from zen_edge.exporters.attention import replaced
from zen_edge.exporters.relative import shifted


def position_bias(module: Any, query: torch.Tensor, key: torch.Tensor, embeddings: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """query (B,N,T,H), embeddings (1,2T-1,D), the farthest place before first -> the query for the products with keys, and what is added to those."""
    places = module.linear_pos(embeddings)[0].unflatten(-1, (query.shape[1], query.shape[3])).permute(1, 2, 0)  # (N,H,2T-1)
    scores = torch.matmul(query + module.pos_bias_v[None, :, None, :], places)
    return query + module.pos_bias_u[None, :, None, :], shifted(scores) * module.scaling


def _relative(module: Any, hidden_states: torch.Tensor) -> torch.Tensor:
    """(B,T,D) -> (1,2T-1,D), sines and cosines of T-1 places before a query down to T-1 after it: a table of any length."""
    T, D = hidden_states.shape[1], module.d_model
    places = (T - 1) - torch.arange(2 * T - 1)
    angles = places[:, None].float() * torch.exp(torch.arange(0, D, 2).float() * -(torch.log(torch.tensor(10000.0)) / D))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[None]


def _rotary(module: Any, hidden_states: torch.Tensor) -> torch.Tensor:
    """(B,T,D) -> (2,T,1,1,H), cosines and sines."""
    angles = torch.arange(hidden_states.shape[1]).type_as(module.inv_freq)[:, None] * module.inv_freq
    angles = torch.cat((angles, angles), dim=-1)[:, None, None]
    return torch.stack([angles.cos(), angles.sin()]).type_as(hidden_states)


def _rotated(attention: Any, hidden_states: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
    """hidden_states (B,T,D), embeddings as of `_rotary` -> (B,T,D)."""
    heads = hidden_states.unflatten(-1, (attention.num_heads, attention.head_size))
    first, second = heads.chunk(2, dim=-1)
    cos, sin = embeddings[:, :, 0]  # (T,1,H) each
    return (heads * cos + torch.cat((-second, first), dim=-1) * sin).flatten(2)


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    with tracing_of(model, modeling, "Wav2Vec2Conformer"):
        yield


@contextmanager
def tracing_of(model: Any, module: Any, prefix: str) -> Iterator[None]:
    """For `module`'s conformer, whose classes begin with `prefix`."""
    relative, rotary, attention = (
        [one for one in model.modules() if type(one).__name__ == prefix + kind]
        for kind in ("RelPositionalEmbedding", "RotaryPositionalEmbedding", "SelfAttention")
    )
    bias = patch.object(module, "_apply_relative_position_encoding", position_bias)
    with replaced(relative, _relative), replaced(rotary, _rotary), replaced(attention, _rotated, "_apply_rotary_embedding"), bias:
        yield
