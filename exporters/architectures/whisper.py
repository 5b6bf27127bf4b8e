"""Whisper: speech to text. Its encoder takes windows of one length only; exported is one that takes shorter ones too, with the first positions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import gelu
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from zen_edge.exporters.attention import replaced
from zen_edge.exporters.limits import Limits

TASK = "speech-recognition"
READS = "input_features"
MASKED = False


def limits(model: Any, measured: Limits) -> Limits:
    """Frames of the longest window, and positions of the decoder."""
    encoder = model.get_encoder()
    return Limits(model.config.max_source_positions * encoder.conv1.stride[0] * encoder.conv2.stride[0], model.config.max_target_positions)


def example(model: Any) -> torch.Tensor:
    return torch.zeros(1, model.config.num_mel_bins, limits(model, Limits(None, None)).source)


def generation(model: Any) -> dict[str, Any]:
    """For the times of words, and the prompt that older checkpoints keep in their config."""
    forced = getattr(model.config, "forced_decoder_ids", None)
    return {"median_filter_width": model.config.median_filter_width} | ({"forced_decoder_ids": forced} if forced else {})


def _encode(encoder: WhisperEncoder, input_features: torch.Tensor, attention_mask: None = None, **_: Any) -> BaseModelOutput:
    """input_features (B,C,F) -> (B,T,D), T half of F rounded up."""
    x = gelu(encoder.conv2(gelu(encoder.conv1(input_features)))).permute(0, 2, 1).contiguous()  # in memory too, or the trace would ask about T
    x = x + encoder.embed_positions.weight[: x.shape[1]]
    for layer in encoder.layers:
        x = layer(x, None)
    return BaseModelOutput(last_hidden_state=encoder.layer_norm(x))


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    with replaced([model.get_encoder()], _encode):
        yield
