"""What PyTorch says of speech: the reference side of a parity check of an encoder-decoder that hears."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

from zen_edge.exporters.architectures import architecture
from zen_edge.exporters.checkpoint import Checkpoint
from zen_edge.exporters.heard_once import heard_once
from zen_edge.exporters.reference import eager
from zen_edge.exporters.softmaxes import softmaxes
from zen_edge.exporters.trace import DecoderSizes
from zen_edge.exporters.turns import in_pytorch
from zen_edge.exporters.wrappers import FeatureEncoder

Array = np.ndarray[Any, Any]


class SpeechReference:
    """A checkpoint as something to compare with: eager PyTorch in float32, transformers' own feature extractor, tokenizer and `generate`."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._model, self._tokenizer, self._extractor = checkpoint.model, checkpoint.tokenizer, checkpoint.feature_extractor
        self._shorter = architecture(checkpoint.model_type).tracing
        self.weights_hash = checkpoint.weights_hash()
        self.sizes = DecoderSizes.of(checkpoint.model)
        self.sampling_rate = int(self._extractor.sampling_rate)
        self.end_token_ids = set(np.atleast_1d(self._model.generation_config.eos_token_id).tolist())
        self.pad_token_id = int(self._tokenizer.pad_token_id)
        self._once = self._hearing()

    def _hearing(self) -> Callable[[], AbstractContextManager[None]]:
        """Blocks in which no window goes through the encoder again."""
        return heard_once(self._model.get_encoder())

    def features(self, audio: Array) -> Array:
        """audio (samples,) -> (C,F), padded to a window."""
        return np.asarray(self._extractor(audio, sampling_rate=self.sampling_rate, return_tensors="np")["input_features"][0])

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    @in_pytorch
    def cross(self, features: Array, *, shorter: bool = False) -> dict[str, Array]:
        """features (B,C,F) -> cross_key_i, cross_value_i (B,N,T,H). shorter: than transformers takes, with the first positions."""
        with self._shorter(self._model) if shorter else self._once():
            outputs = FeatureEncoder(self._model, self.sizes.layers)(torch.from_numpy(features))
        names = [f"cross_{part}_{i}" for i in range(self.sizes.layers) for part in ("key", "value")]
        return {name: output.numpy() for name, output in zip(names, outputs, strict=True)}

    @in_pytorch
    def logits(self, features: Array, decoder_ids: Array) -> Array:
        """features (B,C,F) or as the model takes them, decoder_ids (B,S) -> (B,S,V), without a cache: every position at once."""
        with self._once():
            out = self._model(
                **{self._model.main_input_name: torch.from_numpy(features)}, decoder_input_ids=torch.from_numpy(decoder_ids), use_cache=False
            )
        return np.asarray(out.logits.numpy())

    @in_pytorch
    def attention(self, features: Array, decoder_ids: Array, *, shorter: bool = False) -> dict[str, Array]:
        """As `logits` -> the weights of attention by kind, (B,L,N,S,T)."""
        with self._shorter(self._model) if shorter else nullcontext(), eager(self._model), softmaxes() as computed:
            out = self._model(
                **{self._model.main_input_name: torch.from_numpy(features)},
                decoder_input_ids=torch.from_numpy(decoder_ids),
                use_cache=False,
                output_attentions=True,
            )
        found = {kind: torch.stack(out[f"{kind}_attentions"], dim=1).numpy() for kind in ("decoder", "cross")}
        # An encoder that takes shorter windows is one of ours and keeps none; its softmaxes are the first.
        layers = len(computed) - sum(value.shape[1] for value in found.values())
        return {"encoder": np.stack(computed[:layers], axis=1), **found}

    @in_pytorch
    def prompt(self, features: Array, length: int) -> tuple[int, ...]:
        """What `model.generate` starts from for a window (C,F): a language it finds included."""
        with self._once():
            found = self._model.generate(torch.from_numpy(features[None]), return_dict_in_generate=True, max_new_tokens=1)
        row = (found["sequences"] if isinstance(found, dict) else found)[0].tolist()
        return tuple(row[:length])

    def generate(self, features: Array, **options: Any) -> tuple[int, ...]:
        """`model.generate`'s tokens for a window (C,F), those of every segment; it gives no end token."""
        return self._generate(torch.from_numpy(features[None]), **options)

    def generate_long(self, audio: Array, **options: Any) -> tuple[int, ...]:
        """`model.generate`'s tokens for audio (samples,) of more than one window, each from the end of the last whole segment on."""
        features = self._extractor(audio, sampling_rate=self.sampling_rate, return_tensors="pt", truncation=False, padding="longest")
        return self._generate(features["input_features"], return_timestamps=True, **options)

    @in_pytorch
    def _generate(self, features: torch.Tensor, **options: Any) -> tuple[int, ...]:
        with self._once():
            row = self._model.generate(features, **options)[0].tolist()
        while row and row[-1] in self.end_token_ids | {self.pad_token_id}:
            row.pop()
        return tuple(row)

    def log_probabilities(self, features: Array, prompt: Sequence[int], tokens: Sequence[int]) -> Array:
        """The log-softmax before each of the tokens, (len(tokens), V)."""
        logits = self.logits(features[None], np.array([[*prompt, *tokens[:-1]]]))[0, len(prompt) - 1 :]
        return np.asarray(torch.log_softmax(torch.from_numpy(logits), -1).numpy())
