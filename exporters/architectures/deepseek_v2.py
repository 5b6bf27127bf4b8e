"""DeepSeek-V2: turns queries and keys by complex numbers, which ONNX has not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from transformers.models.deepseek_v2 import modeling_deepseek_v2

from zen_edge.exporters.attention import replaced

NEAREST = "deepseek_v3"
CHANGING = ("dynamic", "longrope")  # see transformers' dynamic_rope_update


def refuse(config: Any) -> str | None:
    kind = (config.rope_parameters or {}).get("rope_type", "default")
    return f"turns positions by angles that depend on a text's length (rope_type {kind!r}), which is not exported" if kind in CHANGING else None


def _turns(rotary: Any, x: torch.Tensor, position_ids: torch.Tensor) -> torch.Tensor:
    """position_ids (B,T) -> (B,T,H/2,2): the cosine and the sine of each angle."""
    angles = position_ids[..., None].float() * rotary.inv_freq.float()
    return torch.stack([angles.cos(), angles.sin()], dim=-1) * rotary.attention_scaling


def _turned(query: torch.Tensor, key: torch.Tensor, turns: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """query, key (B,N,T,H), neighbouring numbers of which are the parts of one complex number -> the same, multiplied."""
    cos, sin = turns.unsqueeze(1).unbind(-1)  # (B,1,T,H/2)

    def multiplied(x: torch.Tensor) -> torch.Tensor:
        real, imaginary = x.unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack([real * cos - imaginary * sin, real * sin + imaginary * cos], dim=-1).flatten(-2)

    return multiplied(query), multiplied(key)


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    rotaries = [module for module in model.modules() if isinstance(module, modeling_deepseek_v2.DeepseekV2RotaryEmbedding)]
    with replaced(rotaries, _turns), patch.object(modeling_deepseek_v2, "apply_rotary_emb", _turned):
        yield
