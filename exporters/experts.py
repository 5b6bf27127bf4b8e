"""Mixtures of experts while a transformers model is traced.

transformers sorts tokens by their experts, or gathers the weights that each token needs, both in operators that ONNX has not or for memory that grows with
the text. Here every expert sees every token, and those that a token did not choose count for nothing: the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

NAME = "zen_edge"


def every_expert(experts: Any, states: torch.Tensor, chosen: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """transformers' experts function. states (T,D), chosen (T,K) of E experts, shares (T,K) -> (T,D)."""
    share = torch.zeros(states.shape[0], experts.num_experts, dtype=shares.dtype).scatter(1, chosen, shares)  # (T,E)
    inner = _projected(experts, "gate_up_proj" if experts.has_gate else "up_proj", states[None])
    inner = experts._apply_gate(inner) if experts.has_gate else experts.act_fn(inner)
    out = _projected(experts, "down_proj", inner)  # (E,T,D)
    if experts.has_post_expert_norm:
        out = experts.post_expert_norm(out)
    return (out * share.T[..., None]).sum(0).to(states.dtype)


def _projected(experts: Any, name: str, states: torch.Tensor) -> torch.Tensor:
    """(1|E,T,D) -> (E,T,I), by weights (E,I,D), or (E,D,I) where they lie transposed."""
    weights = getattr(experts, name)
    out = states @ (weights if experts.is_transposed else weights.transpose(1, 2))
    return out + getattr(experts, f"{name}_bias")[:, None] if experts.has_bias else out


@contextmanager
def dense(model: PreTrainedModel) -> Iterator[None]:
    """`model` with all its experts asked inside the block; nothing changes for one without any."""
    ALL_EXPERTS_FUNCTIONS.register(NAME, every_expert)
    before = model.get_experts_implementation()
    model.set_experts_implementation(NAME)
    try:
        yield
    finally:
        model.set_experts_implementation(before)
