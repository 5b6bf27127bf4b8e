"""Moonshine: samples to text. What it normalizes over are the samples of one utterance, and no padding, so that each is heard as it is alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.masking_utils import create_bidirectional_mask
from transformers.models.moonshine.modeling_moonshine import MoonshineAttention, MoonshineEncoder, MoonshineEncoderModelOutput

from zen_edge.exporters.attention import replaced
from zen_edge.exporters.frame_masks import seen

TASK = "speech-recognition"
READS = "input_values"
SAMPLES = 8037  # of an example: a multiple of nothing


def example(model: Any) -> torch.Tensor:
    return torch.zeros(1, SAMPLES)


def _encode(encoder: MoonshineEncoder, input_values: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> MoonshineEncoderModelOutput:
    """input_values, attention_mask (B,S) -> (B,T,D) and their mask (B,T)."""
    counts = _outputs(encoder.conv1, attention_mask.sum(-1))
    x = torch.tanh(encoder.conv1(input_values[:, None]))
    x = _normalized(x, counts, encoder.groupnorm)
    for conv in (encoder.conv2, encoder.conv3):
        x, counts = torch.nn.functional.gelu(conv(x)), _outputs(conv, counts)
    x = x.permute(0, 2, 1)
    mask = seen(counts, x.shape[1])
    attends = create_bidirectional_mask(config=encoder.config, inputs_embeds=x, attention_mask=mask)
    places = encoder.rotary_emb(x, position_ids=torch.arange(x.shape[1])[None])
    for layer in encoder.layers:
        x = layer(x, attention_mask=attends, position_embeddings=places)
    return MoonshineEncoderModelOutput(last_hidden_state=encoder.layer_norm(x), attention_mask=mask)


def _outputs(conv: torch.nn.Conv1d, counts: torch.Tensor) -> torch.Tensor:
    """How many outputs see no padding."""
    return (counts - conv.kernel_size[0]) // conv.stride[0] + 1


def _normalized(x: torch.Tensor, counts: torch.Tensor, norm: torch.nn.GroupNorm) -> torch.Tensor:
    """x (B,C,F), of each row of which `counts` (B,) are seen: normalized over those, all channels in one group."""
    inside, size = seen(counts, x.shape[2])[:, None], (counts * x.shape[1]).float()[:, None, None]
    mean = (x * inside).sum((1, 2), keepdim=True) / size
    variance = ((x - mean).square() * inside).sum((1, 2), keepdim=True) / size
    return (x - mean) * torch.rsqrt(variance + norm.eps) * norm.weight[:, None] + norm.bias[:, None]


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    """Without the zeros that fill heads up for other attention functions (`pad_head_dim_to_multiple_of`), which change nothing."""
    attentions = [module for module in model.modules() if isinstance(module, MoonshineAttention)]
    before = [attention.head_dim_padding for attention in attentions]
    for attention in attentions:
        attention.head_dim_padding = 0
    try:
        with replaced([model.get_encoder()], _encode):
            yield
    finally:
        for attention, padding in zip(attentions, before, strict=True):
            attention.head_dim_padding = padding
