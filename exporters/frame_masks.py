"""Which of the outputs of convolutions are no padding, said so that it can be traced with free lengths."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel

from zen_edge.exporters.attention import replaced


def seen(counts: torch.Tensor, width: int) -> torch.Tensor:
    """counts (B,) -> (B,width), True for so many of each row."""
    return torch.arange(width) < counts[:, None]


@contextmanager
def masks_without_scatter(model: PreTrainedModel) -> Iterator[None]:
    """transformers marks the last frame of each row and sums backwards, which is traced as a scatter with wrong sizes; a comparison says the same."""
    name = "_get_feature_vector_attention_mask"
    with replaced((module for module in model.modules() if hasattr(module, name)), _frame_mask, name):
        yield


def _frame_mask(module: Any, feature_vector_length: int, attention_mask: torch.Tensor, add_adapter: bool | None = None) -> torch.Tensor:
    """(B,S) -> (B,T)."""
    count = functools.partial(module._get_feat_extract_output_lengths, **({} if add_adapter is None else {"add_adapter": add_adapter}))
    return seen(count(attention_mask.sum(-1)), feature_vector_length)
