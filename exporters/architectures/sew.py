"""SEW: wav2vec2 whose layers see two frames as one. Between them and the frames transformers compares lengths, which is decided here instead."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.sew.modeling_sew import SEWEncoder

from zen_edge.exporters.attention import replaced
from zen_edge.exporters.relative import cut, laid_out


def squeezed(encoder: Any, hidden_states: torch.Tensor) -> torch.Tensor:
    """(B,T,D) -> (B, T // factor, D). A kernel of odd size makes one position more than are kept, where T is not a multiple of the factor."""
    frames = hidden_states.transpose(1, 2)
    pooled = encoder.pool(frames)
    return (pooled + cut(encoder.pos_conv_embed(frames), 2, pooled, 2)).transpose(1, 2)


def stretched(encoder: Any, hidden_states: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """(B, T // factor, D), frames (B,T,D) -> (B,T,D), zeros for the frames that were left over."""
    factor, upsample = encoder.config.squeeze_factor, encoder.upsample
    wide = upsample.activation(upsample.projection(hidden_states))  # (B, T // factor, factor * D)
    B, T, D = wide.shape
    wide = laid_out(wide, [torch.tensor([0, -1, D // factor])], (B, T * factor, D // factor))
    wide = torch.nn.functional.pad(wide, (0, 0, 0, factor - 1))
    return cut(wide, 1, frames, 1)


def _encode(encoder: SEWEncoder, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **others: Any) -> BaseModelOutput:
    """hidden_states (B,T,D), attention_mask (B,T) -> (B,T,D)."""
    x = squeezed(encoder, hidden_states if attention_mask is None else hidden_states * attention_mask[..., None])
    if attention_mask is not None:
        factor = encoder.config.squeeze_factor
        attention_mask = torch.nn.functional.max_pool1d(attention_mask[:, None].float(), factor, factor)[:, 0].long()
    mask = create_bidirectional_mask(config=encoder.config, inputs_embeds=x, attention_mask=attention_mask)
    x = encoder.layer_norm(x)
    for layer in encoder.layers:
        x = layer(x, attention_mask=mask, **others)
    return BaseModelOutput(last_hidden_state=stretched(encoder, x, hidden_states))


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    with replaced((module for module in model.modules() if isinstance(module, SEWEncoder)), _encode):
        yield
