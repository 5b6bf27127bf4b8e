"""What the encoder of a model reads, and its wrappers: ids with a mask, windows of audio, or utterances with a mask."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from zen_edge.exporters.architectures import architecture
from zen_edge.exporters.wrappers import Decoder, Encoder, FeatureEncoder, UnmaskedDecoder, UtteranceDecoder, UtteranceEncoder
from zen_edge.manifest import STATES_MASK

FRAMES = 22  # of a traced window: no other size there, nor a half of one


@dataclass(frozen=True)
class Source:
    """names: the encoder graph's inputs. length: the letter of their free length, at `axis`, from `least` on. masked: whether attention_mask is
    among them, and a mask of the encoder's states goes to the decoder. returned: what the encoder graph returns besides keys and values."""

    names: tuple[str, ...]
    length: str
    axis: int
    least: int
    masked: bool
    encoder: type[Encoder]
    decoder: type[Decoder]
    returned: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: PreTrainedModel) -> Source:
        known = architecture(model.config.model_type)
        if known.reads == "input_ids":
            return IDS
        return utterances(known.reads) if known.masked else WINDOWS

    def example(self, model: PreTrainedModel) -> tuple[torch.Tensor, ...]:
        """Two short inputs and their mask: (2,T), (2,C,F), (2,F) or (2,F,n). An architecture that takes one length only makes others possible while it is traced."""
        if self is IDS:
            return torch.ones(2, 7, dtype=torch.long), torch.ones(2, 7, dtype=torch.long)
        features = whole(model)[self.names[0]]
        if self is WINDOWS:
            return (features[:, :, :FRAMES].expand(2, -1, -1).contiguous(),)
        return features.expand(2, *features.shape[1:]).contiguous(), torch.ones(2, features.shape[1], dtype=torch.long)


def whole(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """One input as the model's own forward takes it outside of a trace: one token, or features (1,C,F), (1,F) or (1,F,n)."""
    known = architecture(model.config.model_type)
    return {known.reads: torch.ones(1, 1, dtype=torch.long) if known.example is None else known.example(model)}


def utterances(reads: str) -> Source:
    return Source((reads, "attention_mask"), "F", 1, 1, True, UtteranceEncoder, UtteranceDecoder, (STATES_MASK,))


IDS = Source(("input_ids", "attention_mask"), "T", 1, 1, True, Encoder, Decoder)
WINDOWS = Source(("input_features",), "F", 2, 3, False, FeatureEncoder, UnmaskedDecoder)
