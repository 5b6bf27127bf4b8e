"""A `Step` over a tiny torch model with a real key/value cache, for comparing searches with `model.generate`."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from zen_edge.runtimes.decoding import StepScores


@dataclass(frozen=True)
class TorchCache:
    layers: tuple[tuple[Any, ...], ...] | None  # of every layer: self keys and values, cross keys and values; rows first
    hidden: torch.Tensor  # (R,T,D)
    mask: torch.Tensor  # (R,T)
    row_inputs: tuple[int, ...]  # the input of each row, to see that beam_index and input_index agree
    inputs: tuple[int, ...]


@dataclass
class TorchStep:
    """calls: what each step was asked for, as (rows, width, top_k, log_sum_exp, whether every score was read)."""

    model: Any
    calls: list[list[Any]]

    def begin(self, input_ids: torch.Tensor, mask: torch.Tensor) -> TorchCache:
        with torch.no_grad():
            hidden = self.model.get_encoder()(input_ids=input_ids, attention_mask=mask).last_hidden_state
        rows = tuple(range(len(input_ids)))
        return TorchCache(None, hidden, mask, rows, rows)

    def __call__(self, ids, cache, *, top_k, log_sum_exp, beam_index, input_index):
        if input_index is not None:
            cache = TorchCache(cache.layers, cache.hidden, cache.mask, cache.row_inputs, tuple(cache.inputs[each] for each in input_index))
        if beam_index is not None:
            assert not (len(beam_index) == len(cache.row_inputs) and (beam_index == np.arange(len(beam_index))).all()), "identity must be None"
            cache = _rows(cache, torch.from_numpy(beam_index))
        assert len(ids) == len(cache.row_inputs)
        per_input = len(ids) // len(cache.inputs)
        assert cache.row_inputs == tuple(each for each in cache.inputs for _ in range(per_input)), "rows of an input must be contiguous"

        past = None if cache.layers is None else EncoderDecoderCache(list(cache.layers))
        with torch.no_grad():
            out = self.model(
                encoder_outputs=BaseModelOutput(cache.hidden),
                attention_mask=cache.mask,
                decoder_input_ids=torch.from_numpy(ids),
                past_key_values=past,
                use_cache=True,
            )
        logits = out.logits[:, -1].float()
        assert 1 <= top_k <= logits.shape[1]
        call = [len(ids), ids.shape[1], top_k, log_sum_exp, False]
        self.calls.append(call)

        def every_score():
            call[4] = True
            return logits.numpy()

        top = logits.topk(top_k, dim=-1)
        sums = logits.logsumexp(-1).numpy() if log_sum_exp else None
        layers = tuple(tuple(layer) for layer in out.past_key_values)
        new = TorchCache(layers, cache.hidden, cache.mask, cache.row_inputs, cache.inputs)
        return StepScores(top.values.numpy(), top.indices.numpy(), sums, every_score), new


def _rows(cache: TorchCache, index: torch.Tensor) -> TorchCache:
    layers = None
    if cache.layers is not None:
        layers = tuple(tuple(part[index] if isinstance(part, torch.Tensor) else part for part in layer) for layer in cache.layers)
    return TorchCache(layers, cache.hidden[index], cache.mask[index], tuple(cache.row_inputs[row] for row in index.tolist()), cache.inputs)
