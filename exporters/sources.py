"""What the encoder of a model reads, and its wrappers: ids with a mask, or features of audio."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from zen_edge.exporters.architectures import architecture
from zen_edge.exporters.wrappers import Decoder, Encoder, FeatureEncoder, UnmaskedDecoder

FRAMES = 22  # of a traced example: no other size there, nor a half of one


@dataclass(frozen=True)
class Source:
    """names: the encoder graph's inputs. length: the letter of their free length, at `axis`, from `least` on. masked: whether attention_mask is
    among them, and goes to the decoder as well."""

    names: tuple[str, ...]
    length: str
    axis: int
    least: int
    masked: bool
    encoder: type[Encoder]
    decoder: type[Decoder]

    @classmethod
    def of(cls, model: PreTrainedModel) -> Source:
        return FEATURES if architecture(model.config.model_type).reads == "input_features" else IDS

    def example(self, model: PreTrainedModel) -> tuple[torch.Tensor, ...]:
        """Two short inputs, (2,T) each or (2,C,F); an architecture that takes one length only makes others possible while it is traced."""
        if self is IDS:
            return torch.ones(2, 7, dtype=torch.long), torch.ones(2, 7, dtype=torch.long)
        return (whole(model)[self.names[0]][:, :, :FRAMES].expand(2, -1, -1).contiguous(),)


def whole(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """One input as the model's own forward takes it outside of a trace: one token, or (1,C,F)."""
    make = architecture(model.config.model_type).example
    return {"input_ids": torch.ones(1, 1, dtype=torch.long)} if make is None else {"input_features": make(model)}


IDS = Source(("input_ids", "attention_mask"), "T", 1, 1, True, Encoder, Decoder)
FEATURES = Source(("input_features",), "F", 2, 3, False, FeatureEncoder, UnmaskedDecoder)
