"""What PyTorch says of texts: the reference side of a parity check of a model that is an encoder and a head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from zen_edge.exporters.checkpoint import Checkpoint
from zen_edge.exporters.encoders import PLACES, at
from zen_edge.exporters.reference import eager
from zen_edge.exporters.turns import in_pytorch
from zen_edge.tasks import ENCODER_OUTPUTS

Array = np.ndarray[Any, Any]


class EncoderReference:
    """A checkpoint as something to compare with: eager PyTorch in float32 and transformers' own tokenizer."""

    def __init__(self, checkpoint: Checkpoint, task: str) -> None:
        self._model, self._tokenizer, self._outputs = checkpoint.model, checkpoint.tokenizer, ENCODER_OUTPUTS[task]
        self.weights_hash = checkpoint.weights_hash()
        self.pad_token_id = int(self._tokenizer.pad_token_id)
        self.mask_token_id: int | None = self._tokenizer.mask_token_id
        self.special_token_ids = frozenset(self._tokenizer.all_special_ids)

    def encode(self, text: str, pair: str | None = None, most: int | None = None) -> dict[str, list[int]]:
        """By the graph's names: input_ids and, where the tokenizer gives them, token_type_ids. most: the pair is cut to give so many tokens."""
        cut = {} if most is None else {"truncation": "only_second", "max_length": most}
        return {name: list(values) for name, values in self._tokenizer(text, pair, verbose=False, **cut).items()}

    def windows(self, question: str, context: str, most: int, stride: int) -> Iterator[tuple[Any, Array, Array]]:
        """(encoding, start_logits (T), end_logits (T)) of each window of at most `most` tokens, `stride` of which it shares with the one before it."""
        cut = {"truncation": "only_second", "max_length": most, "stride": stride, "return_overflowing_tokens": True}
        found = self._tokenizer(question, context, **cut)
        for place, encoding in enumerate(found.encodings):
            feeds = {name: np.array([found[name][place]]) for name in self._tokenizer.model_input_names}
            out = self.outputs(feeds)
            yield encoding, out["start_logits"][0], out["end_logits"][0]

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens)))

    @in_pytorch
    def outputs(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """feeds: the graph's inputs by name -> its outputs by name."""
        given = {name: torch.from_numpy(value) for name, value in feeds.items()}
        places = given.pop(PLACES, None)
        out = self._model(**given, return_dict=True)
        return {name: (out[name] if places is None else at(out[name], places)).numpy() for name in self._outputs}

    @in_pytorch
    def attention(self, feeds: Mapping[str, Array]) -> Array:
        """feeds: the graph's inputs by name -> the weights of attention, (B,L,N,T,T)."""
        with eager(self._model):
            out = self._model(
                **{name: torch.from_numpy(value) for name, value in feeds.items() if name != PLACES}, output_attentions=True, return_dict=True
            )
        return np.asarray(torch.stack(out.attentions, dim=1).numpy())
