"""Wav2Vec2-BERT: a conformer that reads log-mel frames. Of its three kinds of positions, near keys have embeddings of their own by default."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from transformers.models.wav2vec2_bert import modeling_wav2vec2_bert as modeling

from zen_edge.exporters.architectures.wav2vec2_conformer import tracing_of
from zen_edge.exporters.relative import shifted


def _near_keys(module: Any, query: torch.Tensor, key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """query (B,N,T,H) -> the same, and what is added to its scores: one product per distance, not per pair of places, which would fill memory."""
    T = query.shape[2]
    distances = torch.clamp(torch.arange(2 * T - 1) - (T - 1), -module.left_max_position_embeddings, module.right_max_position_embeddings)
    scores = torch.matmul(query, module.distance_embedding.weight.transpose(0, 1))  # (B,N,T,K), K distances
    return query, shifted(scores.index_select(-1, distances + module.left_max_position_embeddings)) * module.scaling


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    with tracing_of(model, modeling, "Wav2Vec2Bert"), patch.object(modeling, "_apply_relative_key_position_encoding", _near_keys):
        yield
