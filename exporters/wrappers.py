"""The two graphs of an encoder-decoder model, as modules to trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from zen_edge.exporters.attention import CrossAttentionLayer, SelfAttentionLayer


class Encoder(torch.nn.Module):
    """(input_ids (B,T), attention_mask (B,T)) -> cross keys and values of every decoder layer, (B,N,T,H) each, keys before values.

    The whole model runs on one start token with an empty cache, so that whatever an architecture does between its two halves is done; only what
    the decoder puts into the cross-attention cache is returned, and the rest is dead and the exporter drops it.
    """

    def __init__(self, model: PreTrainedModel, layers: int) -> None:
        super().__init__()
        self.model, self.layers = model, layers

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return _flat(self.cross(input_ids.shape[0], input_ids=input_ids, attention_mask=attention_mask))

    def cross(self, rows: Any, **source: torch.Tensor) -> list[CrossAttentionLayer]:
        """What the decoder keeps of a source of so many rows, layer by layer."""
        cross = Cache(layers=[CrossAttentionLayer() for _ in range(self.layers)])
        own = Cache(layer_class_to_replicate=None, layers=[_Forgetful() for _ in range(self.layers)])
        start = torch.zeros(rows, 1, dtype=torch.long)  # any token: nothing that is returned depends on it
        self.model(**source, decoder_input_ids=start, past_key_values=EncoderDecoderCache(own, cross), use_cache=True, return_dict=True)
        return list(cross.layers)


class FeatureEncoder(Encoder):
    """input_features (B,C,F) -> the same; every frame is seen."""

    def forward(self, input_features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return _flat(self.cross(input_features.shape[0], input_features=input_features))


class UtteranceEncoder(Encoder):
    """(input_features (B,S,n) or input_values (B,S), attention_mask (B,S)) -> the same, and which of the T states of each are no padding, (B,T)."""

    def forward(self, features: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        layers = self.cross(features.shape[0], **{self.model.main_input_name: features}, attention_mask=attention_mask)
        assert layers[0].seen is not None
        return (*_flat(layers), layers[0].seen.long())


def _flat(layers: list[CrossAttentionLayer]) -> tuple[torch.Tensor, ...]:
    return tuple(x for layer in layers for x in (layer.keys, layer.values))


class _Forgetful(CrossAttentionLayer):
    """A self-attention cache that is always empty: the start token sees itself only."""

    def get_seq_length(self) -> int:
        return 0


class Decoder(torch.nn.Module):
    """(input_ids (R,S), attention_mask (B,T), [cross key, cross value (B,N,T,H)] * L, [past key, past value (R,N,P,H)] * L)
    -> logits (R,S,V), [present key, present value (R,N,P+S,H)] * L.

    R is a multiple of B: the beams of one input are neighbouring rows and share its cross keys and values.
    """

    def __init__(self, model: PreTrainedModel, layers: int, width: int) -> None:
        """width: of the encoder's states."""
        super().__init__()
        self.model, self.layers, self.width = model, layers, width

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, cross: list[torch.Tensor], past: list[torch.Tensor]
    ) -> tuple[torch.Tensor, ...]:
        return self._step(input_ids, cross, past, attention_mask=attention_mask)

    def _step(
        self, input_ids: torch.Tensor, cross: list[torch.Tensor], past: list[torch.Tensor], seen: torch.Tensor | None = None, **mask: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """seen: which states of the encoder are no padding, where the model must not be asked to make that of its own mask."""
        pairs = range(0, 2 * self.layers, 2)
        own_cache = Cache(layers=[SelfAttentionLayer(past[i], past[i + 1]) for i in pairs])
        cross_cache = Cache(layers=[CrossAttentionLayer(cross[i], cross[i + 1], seen) for i in pairs])
        cache = EncoderDecoderCache(own_cache, cross_cache)
        for i in range(self.layers):
            cache.is_updated[i] = True  # cross keys and values are ready: the encoder's states are not projected again
        B, _, T, _ = cross[0].shape
        states = torch.zeros(B, T, self.width)  # only its presence and shape matter
        logits = self.model(
            encoder_outputs=_States(last_hidden_state=states),
            decoder_input_ids=input_ids,
            past_key_values=cache,
            use_cache=True,
            return_dict=True,
            **mask,
        ).logits
        return (logits, *(x for layer in own_cache.layers for x in (layer.keys, layer.values)))


@dataclass
class _States(BaseModelOutput):
    """attention_mask: Moonshine looks for it here."""

    attention_mask: None = None


class UtteranceDecoder(Decoder):
    """The decoder of an `UtteranceEncoder`: its mask is of the encoder's states, and the model's own would be of what the encoder reads."""

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, cross: list[torch.Tensor], past: list[torch.Tensor]
    ) -> tuple[torch.Tensor, ...]:
        return self._step(input_ids, cross, past, attention_mask)


class UnmaskedDecoder(Decoder):
    """The decoder of a `FeatureEncoder`: the same, without a mask."""

    def forward(self, input_ids: torch.Tensor, cross: list[torch.Tensor], past: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return self._step(input_ids, cross, past)
