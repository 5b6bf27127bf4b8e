"""What PyTorch says of utterances: the reference side of a parity check of an encoder-decoder that hears without windows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

from zen_edge.exporters.checkpoint import Checkpoint
from zen_edge.exporters.reference_speech import SpeechReference
from zen_edge.exporters.turns import in_pytorch
from zen_edge.exporters.wrappers import Encoder

Array = np.ndarray[Any, Any]


class UtteranceReference(SpeechReference):
    """Each utterance is heard alone: beside longer ones transformers lets some models hear the padding."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self.start_token_id = int(self._model.generation_config.decoder_start_token_id)

    def _hearing(self) -> Callable[[], AbstractContextManager[None]]:
        """Encoders of utterances have masks, outputs and names of inputs of their own: they are asked each time."""
        return nullcontext

    def features(self, audio: Array) -> Array:
        """audio (samples,) -> (F,) or (F,n)."""
        found = self._extractor(audio, sampling_rate=self.sampling_rate, return_tensors="np")
        return np.asarray(found[self._model.main_input_name][0])

    @in_pytorch
    def states(self, features: Array) -> dict[str, Array]:
        """features (F,) or (F,n) -> cross_key_i, cross_value_i (N,T,H)."""
        layers = Encoder(self._model, self.sizes.layers).cross(1, **{self._model.main_input_name: torch.from_numpy(features[None])})
        return {f"cross_{part}_{i}": getattr(layer, f"{part}s")[0].numpy() for i, layer in enumerate(layers) for part in ("key", "value")}

    @in_pytorch
    def generate(self, features: Array, **options: Any) -> tuple[int, ...]:
        """`model.generate`'s tokens for one utterance: the ids after the decoder's start, end token included."""
        length = {"max_length": None} if options.get("max_new_tokens") else {}
        row = self._model.generate(**{self._model.main_input_name: torch.from_numpy(features[None])}, **options, **length)[0].tolist()
        return tuple(row[1:])
