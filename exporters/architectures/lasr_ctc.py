"""LASR's CTC models: a conformer over log-mel frames with rotary positions, which are computed here in a way that can be traced."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.models.lasr.modeling_lasr import LasrEncoderRotaryEmbedding

from zen_edge.exporters.attention import replaced


def refuse(config: Any) -> str | None:
    kind = config.encoder_config.rope_parameters.get("rope_type", "default")
    return None if kind == "default" else f"with rotary positions of the kind {kind!r} is not exported"


def _rotary(module: LasrEncoderRotaryEmbedding, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x (B,T,D) -> cosines and sines, (1,T,H) each."""
    angles = torch.arange(x.shape[1]).float()[:, None] * module.inv_freq
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos()[None], angles.sin()[None]


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    with replaced((module for module in model.modules() if isinstance(module, LasrEncoderRotaryEmbedding)), _rotary):
        yield
