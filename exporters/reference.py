"""What PyTorch says: the reference side of a parity check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from zen_edge.errors import CheckpointError
from zen_edge.exporters.checkpoint import Checkpoint
from zen_edge.exporters.trace import DecoderSizes
from zen_edge.exporters.turns import in_pytorch
from zen_edge.exporters.wrappers import Encoder

Array = np.ndarray[Any, Any]


@contextmanager
def eager(model: PreTrainedModel) -> Iterator[None]:
    """`model` with the attention that gives its weights out inside the block."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


class Reference:
    """A checkpoint as something to compare with: eager PyTorch in float32, transformers' own tokenizer and `generate`.

    prefix: what stands before every text. forced: the language code that every output begins with, where the bundle is asked for one.
    """

    def __init__(self, checkpoint: Checkpoint, prefix: str = "", forced: int | None = None) -> None:
        self._model, self._tokenizer, self._prefix = checkpoint.model, checkpoint.tokenizer, prefix
        self._forced = {} if forced is None else {"forced_bos_token_id": forced}
        self.weights_hash = checkpoint.weights_hash()
        self.sizes = DecoderSizes.of(checkpoint.model)
        self.end_token_ids = set(np.atleast_1d(self._model.generation_config.eos_token_id).tolist())
        starts = (self._model.generation_config.decoder_start_token_id, self._model.generation_config.bos_token_id)
        start = next((start for start in starts if start is not None), None)
        if start is None:
            raise CheckpointError(
                "the checkpoint's generation config says neither decoder_start_token_id nor bos_token_id: set the first in generation_config.json."
            )
        self.start_token_id = int(start)
        self.pad_token_id = int(self._tokenizer.pad_token_id)

    def encode(self, line: str) -> list[int]:
        return list(self._tokenizer(self._prefix + line, verbose=False)["input_ids"])

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    @in_pytorch
    def cross(self, ids: Array, mask: Array) -> dict[str, Array]:
        """ids, mask (B,T) -> cross_key_i, cross_value_i (B,N,T,H)."""
        outputs = Encoder(self._model, self.sizes.layers)(torch.from_numpy(ids), torch.from_numpy(mask))
        names = [f"cross_{part}_{i}" for i in range(self.sizes.layers) for part in ("key", "value")]
        return {name: output.numpy() for name, output in zip(names, outputs, strict=True)}

    @in_pytorch
    def logits(self, ids: Array, mask: Array, decoder_ids: Array) -> Array:
        """ids, mask (B,T), decoder_ids (B,S) -> (B,S,V), without a cache: every position at once."""
        out = self._model(
            input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask), decoder_input_ids=torch.from_numpy(decoder_ids), use_cache=False
        )
        return np.asarray(out.logits.numpy())

    @in_pytorch
    def attention(self, ids: Array, mask: Array, decoder_ids: Array) -> dict[str, Array]:
        """ids, mask (B,T), decoder_ids (B,S) -> the weights of attention by kind, (B,L,N,S,T)."""
        with eager(self._model):
            out = self._model(
                input_ids=torch.from_numpy(ids),
                attention_mask=torch.from_numpy(mask),
                decoder_input_ids=torch.from_numpy(decoder_ids),
                use_cache=False,
                output_attentions=True,
            )
        return {kind: torch.stack(out[f"{kind}_attentions"], dim=1).numpy() for kind in ("encoder", "decoder", "cross")}

    @in_pytorch
    def generate(self, ids: Array, mask: Array, num_beams: int, max_new_tokens: int | None) -> list[tuple[int, ...]]:
        """`model.generate`'s best sequence for each row: the ids after the decoder's start, end token included, no padding."""
        length = {} if max_new_tokens is None else {"max_new_tokens": max_new_tokens, "max_length": None}
        rows = self._model.generate(
            input_ids=torch.from_numpy(ids),
            attention_mask=torch.from_numpy(mask),
            num_beams=num_beams,
            num_return_sequences=1,
            **self._forced,
            **self._cache(),
            **length,
        )
        return [self._trimmed(row[1:]) for row in rows.tolist()]

    def _cache(self) -> dict[str, Any]:
        """A cache of its own where transformers 5.23 would make one of too few layers: it counts the encoder's (T5 with a deeper decoder)."""
        counted = getattr(self._model.config, "num_hidden_layers", None)
        return {"past_key_values": EncoderDecoderCache(DynamicCache(), DynamicCache())} if counted is not None and counted < self.sizes.layers else {}

    def _trimmed(self, row: list[int]) -> tuple[int, ...]:
        end = next((i for i, token in enumerate(row) if token in self.end_token_ids), len(row) - 1)
        return tuple(row[: end + 1])

    @in_pytorch
    def log_probabilities(self, ids: Sequence[int], tokens: Sequence[int]) -> Array:
        """For one line's ids and the tokens generated: the log-softmax before each of them, (len(tokens), V)."""
        source = torch.tensor([list(ids)])
        decoder = torch.tensor([[self.start_token_id, *tokens[:-1]]])
        encoded = self._model.get_encoder()(input_ids=source, attention_mask=torch.ones_like(source), return_dict=True)
        out = self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded.last_hidden_state),
            attention_mask=torch.ones_like(source),
            decoder_input_ids=decoder,
            use_cache=False,
        )
        return np.asarray(torch.log_softmax(out.logits[0].float(), -1).numpy())
