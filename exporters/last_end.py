"""Texts classified by the state at their last </s>: BART and its kin, T5 and its."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
from transformers.modeling_outputs import SequenceClassifierOutput

from zen_edge.exporters.attention import replaced


def _classify(model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any) -> SequenceClassifierOutput:
    """transformers takes the states at every </s> out of a batch, a number that cannot be traced, and of these the last. Each text has one: it is tried before."""
    shifted = {"decoder_input_ids": model._shift_right(input_ids)} if hasattr(model, "_shift_right") else {}
    states = model.base_model(input_ids, attention_mask=attention_mask, use_cache=False, return_dict=True, **shifted).last_hidden_state  # (B,T,D)
    places = torch.where(input_ids == model.config.eos_token_id, torch.arange(input_ids.shape[1]), 0)
    last = places.amax(1)[:, None, None].expand(-1, 1, states.shape[-1])
    return SequenceClassifierOutput(logits=model.classification_head(states.gather(1, last)[:, 0]))


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    with replaced([model] if hasattr(model, "classification_head") else [], _classify):
        yield


def _turned(input_ids: torch.Tensor, pad_token_id: int) -> torch.Tensor:
    """(B,T), the last word first. transformers squeezes the axis of texts away where there is one, which a graph would do for good."""
    last = input_ids.ne(pad_token_id).sum(1, keepdim=True) - 1
    return torch.cat([input_ids.gather(1, last), input_ids[:, :-1]], dim=1)


@contextmanager
def turning(model: Any, module: ModuleType) -> Iterator[None]:
    """`tracing` for a model whose decoder reads the encoder's ids from the last on: mBART and PLBART, whose module of transformers is `module`."""
    with patch.object(module, "shift_tokens_right", _turned), tracing(model):
        yield
