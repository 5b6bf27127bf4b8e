"""What PyTorch says of sound: the reference side of a parity check of a CTC model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from zen_edge.exporters.checkpoint import Checkpoint
from zen_edge.exporters.ctc import frame_count
from zen_edge.exporters.reference import eager
from zen_edge.exporters.softmaxes import softmaxes
from zen_edge.exporters.turns import in_pytorch

Array = np.ndarray[Any, Any]


class CtcReference:
    """A checkpoint as something to compare with: eager PyTorch in float32, transformers' own feature extractor and tokenizer, each sound alone."""

    def __init__(self, checkpoint: Checkpoint, masked: bool) -> None:
        """masked: whether the model is told which frames are padding; those of others are cut off."""
        self._model, self._tokenizer, self._extractor = checkpoint.model, checkpoint.tokenizer, checkpoint.feature_extractor
        self._masked = masked
        self.weights_hash = checkpoint.weights_hash()
        self.sampling_rate = int(self._extractor.sampling_rate)

    def features(self, audio: Array) -> Array:
        """audio (samples,) -> (S,) or (S,n), without what the extractor pads with."""
        found = self._extractor(audio, sampling_rate=self.sampling_rate, return_tensors="pt")
        features = found[self._model.main_input_name][0]
        return np.asarray(features[: int(found["attention_mask"][0].sum())] if "attention_mask" in found else features)

    @in_pytorch
    def logits(self, audio: Array) -> Array:
        """audio (samples,) -> (T,V)."""
        found = self._extractor(audio, sampling_rate=self.sampling_rate, return_tensors="pt")
        if not self._masked or "attention_mask" not in found:
            return np.asarray(self._model(torch.from_numpy(self.features(audio))[None]).logits[0])
        mask = found["attention_mask"].long()
        out = self._model(found[self._model.main_input_name], attention_mask=mask)
        return np.asarray(out.logits[0, : int(frame_count(self._model, mask))])

    @in_pytorch
    def attention(self, audio: Array) -> Array:
        """audio (samples,) -> the weights of attention, (L,N,T,T)."""
        given = {self._model.main_input_name: torch.from_numpy(self.features(audio))[None]}
        with eager(self._model), softmaxes() as computed:
            out = self._model(**given, output_attentions=True)
        told = [layer.numpy() for layer in out.attentions]
        # WavLM tells the mean over its heads for each of them; its softmaxes are apart.
        layers = [one.reshape(told[0].shape) for one in computed if one.size == told[0].size and one.shape[-1] == told[0].shape[-1]]
        return np.stack(layers if len(layers) == len(told) else told, axis=1)[0]

    def decode(self, frames: Sequence[int]) -> str:
        """The text of an id for every frame, as `processor.decode` gives it."""
        return str(self._tokenizer.decode(list(frames)))

    def words(self, frames: Sequence[int]) -> list[tuple[str, int, int]] | None:
        """The words, with the frames they begin and end at; None where the tokenizer does not tell them."""
        if not hasattr(self._tokenizer, "_get_word_offsets"):
            return None
        found = self._tokenizer.decode(list(frames), output_word_offsets=True).word_offsets
        return [(word["word"], int(word["start_offset"]), int(word["end_offset"])) for word in found]

    @property
    def vocab_size(self) -> int:
        return int(self._model.config.vocab_size)
