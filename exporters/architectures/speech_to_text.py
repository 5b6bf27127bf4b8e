"""Speech2Text (S2T): frames of a mel filter bank to text. Its convolutions see no padding here, so that each utterance is heard as it is alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import glu
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.speech_to_text.modeling_speech_to_text import Speech2TextEncoder

from zen_edge.exporters.attention import replaced
from zen_edge.exporters.frame_masks import masks_without_scatter, seen
from zen_edge.exporters.limits import Limits

TASK = "speech-recognition"
READS = "input_features"
FRAMES = 83  # of an example: a multiple of nothing


def limits(model: Any, measured: Limits) -> Limits:
    """What the tables of sines have room for as they are; transformers makes longer ones where they end."""
    encoder, decoder = (_room(half.embed_positions) for half in (model.get_encoder(), model.get_decoder()))
    return Limits(encoder * 2**model.config.num_conv_layers, decoder, measured.least)


def _room(positions: Any) -> int:
    return int(positions.weights.shape[0]) - positions.padding_idx - 1


def example(model: Any) -> torch.Tensor:
    return torch.zeros(1, FRAMES, model.config.input_feat_per_channel * model.config.input_channels)


def _encode(encoder: Speech2TextEncoder, input_features: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> BaseModelOutput:
    """input_features (B,F,n), attention_mask (B,F) -> (B,T,D)."""
    x, counts = input_features.transpose(1, 2), attention_mask.sum(-1)
    for conv in encoder.conv.conv_layers:
        x, counts = glu(conv(x * seen(counts, x.shape[2])[:, None]), dim=1), (counts - 1) // conv.stride[0] + 1
    x = x.transpose(1, 2).contiguous() * encoder.embed_scale
    mask = seen(counts, x.shape[1])
    places = encoder.embed_positions.create_position_ids_from_input_ids((~mask).long(), encoder.padding_idx)
    x = x + encoder.embed_positions.weights[places]
    attends = create_bidirectional_mask(config=encoder.config, inputs_embeds=x, attention_mask=mask)
    for layer in encoder.layers:
        x = layer(x, attends)
    return BaseModelOutput(last_hidden_state=encoder.layer_norm(x))


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    with replaced([model.get_encoder()], _encode), masks_without_scatter(model):
        yield
