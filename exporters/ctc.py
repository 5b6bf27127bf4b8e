"""Models with one output for every frame of sound (CTC): one graph, and what the runtime must know of it.

    ctc graph:  input_values (B,S) or input_features (B,S,n), attention_mask (B,S)  ->  frame_logits (B,T,V), frame_count (B)

Some models answer otherwise for a recording that is padded than for the same one alone: they normalize over the whole input, or convolve over
padding. Which do is measured, and the graph of those has neither mask nor frame_count: the runtime gives them inputs of one length.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CTC_MAPPING_NAMES

from zen_edge.errors import UnsupportedModelError
from zen_edge.exporters.attention import replaced
from zen_edge.exporters.frame_masks import masks_without_scatter
from zen_edge.exporters.limits import fewest
from zen_edge.exporters.trace import export_graph

GRAPH = "ctc"
SHORT, MORE = 2, 2**13 * 5  # seconds of sound to measure on, and samples more: a multiple of the step of every model there is
SAME = 1e-3  # of the largest score: padding changes nothing, or all
MOST = 2**24  # samples or frames of one input
LENGTHS = ("_get_subsampling_output_length", "_get_feat_extract_output_lengths")  # transformers' names for how many outputs an input has


def is_ctc(config: Any) -> bool:
    return config.model_type in MODEL_FOR_CTC_MAPPING_NAMES


@dataclass(frozen=True)
class Hearing:
    """What was measured of a model. step: samples of sound for one output. shortest: the fewest samples that give two, because a trace takes lengths of one apart. masked: whether padding can be
    masked. example: of what the model reads, (1,S) or (1,S,n). least: the shortest S."""

    step: int
    shortest: int
    masked: bool
    example: torch.Tensor
    least: int

    @classmethod
    def of(cls, model: PreTrainedModel, extractor: Any) -> Hearing:
        rate = int(extractor.sampling_rate)
        noise = torch.randn(SHORT * rate + MORE, generator=torch.Generator().manual_seed(0)).mul(0.1).numpy()
        short, long = (_features(model, extractor, noise[:samples]) for samples in (SHORT * rate, len(noise)))
        alone, whole = (_logits(model, one) for one in (short, long))
        step, rest = divmod(MORE, whole.shape[1] - alone.shape[1])
        if rest:
            raise UnsupportedModelError(
                f"{model.config.model_type}: {whole.shape[1]} outputs for {len(noise)} samples of sound are not evenly spaced."
            )
        shortest = _shortest(model, extractor, noise, rate)
        return cls(
            step, shortest, _honours_padding(model, short, long.shape[1], alone), short, _features(model, extractor, noise[:shortest]).shape[1]
        )

    def limits(self, vocab_size: int) -> dict[str, int]:
        return {"vocab_size": vocab_size, "samples_per_frame": self.step, "min_samples": self.shortest}


def _features(model: PreTrainedModel, extractor: Any, audio: Any) -> torch.Tensor:
    return extractor(audio, sampling_rate=extractor.sampling_rate, return_tensors="pt")[model.main_input_name].float()


@torch.no_grad()
def _logits(model: PreTrainedModel, features: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    return model(**{model.main_input_name: features}, attention_mask=mask).logits


def _honours_padding(model: PreTrainedModel, features: torch.Tensor, width: int, alone: torch.Tensor) -> bool:
    S, T = features.shape[1], alone.shape[1]
    if not any(hasattr(model, name) for name in LENGTHS):
        return False
    padded = torch.cat([features, torch.zeros(1, width - S, *features.shape[2:])], dim=1)
    mask = (torch.arange(width) < S).long()[None]
    found = _logits(model, padded, mask)[:, :T]
    return int(frame_count(model, mask)) == T and bool((found - alone).abs().max() < SAME * alone.abs().max())


def frame_count(model: PreTrainedModel, mask: torch.Tensor) -> torch.Tensor:
    """mask (B,S) -> how many outputs each row has, (B)."""
    count = next(getattr(model, name) for name in LENGTHS if hasattr(model, name))
    return count(mask.sum(-1)).to(torch.long)


def _shortest(model: PreTrainedModel, extractor: Any, noise: Any, rate: int) -> int:
    least = 2 * getattr(model.config, "squeeze_factor", 1)  # so many that layers which see several as one see two
    return fewest(lambda samples: _logits(model, _features(model, extractor, noise[:samples])).shape[1] >= least, rate)


class _Frames(torch.nn.Module):
    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: torch.Tensor, attention_mask: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        logits = self.model(**{self.model.main_input_name: features}, attention_mask=attention_mask, return_dict=True).logits
        return (logits,) if attention_mask is None else (logits, frame_count(self.model, attention_mask))


def trace_ctc(model: PreTrainedModel, hearing: Hearing) -> ir.Model:
    B, S = torch.export.Dim("B", min=1, max=2**16), torch.export.Dim("S", min=hearing.least, max=MOST)
    # Not two seconds: a length that is no multiple of anything, so that nothing is taken for always even.
    features = hearing.example[:, : hearing.example.shape[1] // 2 + 37].repeat(2, *([1] * (hearing.example.dim() - 1)))
    example = (features, torch.ones(features.shape[:2], dtype=torch.long)) if hearing.masked else (features,)
    names = [model.main_input_name, "attention_mask"][: len(example)]
    outputs = ["frame_logits", "frame_count"][: len(example)]
    with masks_without_scatter(model), _products_of_points(model):
        return export_graph(model, _Frames(model), example, ({0: B, 1: S},) * len(example), names, outputs, GRAPH, trust=True)


@contextmanager
def _products_of_points(model: PreTrainedModel) -> Iterator[None]:
    """Convolutions over single frames as what they are, products with a matrix: those are quantized, and are a quarter of a conformer."""
    points = (one for one in model.modules() if type(one) is torch.nn.Conv1d and _is_point(one))
    with replaced(points, lambda conv, x: torch.nn.functional.linear(x.transpose(1, 2), conv.weight[:, :, 0], conv.bias).transpose(1, 2)):
        yield


def _is_point(conv: torch.nn.Conv1d) -> bool:
    return (conv.kernel_size, conv.stride, conv.padding, conv.groups) == ((1,), (1,), (0,), 1)
