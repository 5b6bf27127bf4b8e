"""How long a source and a target the model has positions for: measured, because every architecture names, offsets and checks them differently."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel

from zen_edge.exporters.architectures import architecture
from zen_edge.exporters.sources import WINDOWS, Source, whole

LOOK_UPS = {torch.ops.aten.embedding.default: 1, torch.ops.aten.index_select.default: 2}  # where the positions stand among the arguments
LENGTH = 4


@dataclass(frozen=True)
class Limits:
    """The most tokens on either side, or frames of a source of features; None where nothing ends, as with relative or computed positions. least: the
    fewest frames of an utterance."""

    source: int | None
    target: int | None
    least: int | None = None

    @classmethod
    def of(cls, model: PreTrainedModel) -> Limits:
        """Looks which tables the model reads at consecutive places while it runs on one word said again and again."""
        source = Source.of(model)
        if source is WINDOWS:  # features are no words, and their places no look-ups
            return architecture(model.config.model_type).limits(model, cls(None, None))
        if source.returned:
            return architecture(model.config.model_type).limits(model, cls(None, None, _shortest(model)))
        word = a_word(model)
        one, several = torch.full((1, 1), word), torch.full((1, LENGTH), word)
        measured = cls(*(_room(model, source, decoder_input_ids=target) for source, target in ((several, one), (one, several))))
        return architecture(model.config.model_type).limits(model, measured)

    @classmethod
    def of_encoder(cls, model: PreTrainedModel, text: torch.Tensor | None = None) -> Limits:
        """The same of a model of one graph, whose target is nothing. text: ids that the model takes, (1,T), for one that does not take any; the same word again and again
        but for what stands around it."""
        measured = cls(_room(model, torch.full((1, LENGTH), a_word(model)) if text is None else text), None)
        return architecture(model.config.model_type).limits(model, measured)

    def as_dict(self) -> dict[str, int]:
        named = {"max_source_length": self.source, "max_target_length": self.target, "min_source_length": self.least}
        return {name: limit for name, limit in named.items() if limit is not None}


def _shortest(model: PreTrainedModel) -> int:
    """Of an utterance: so many frames that the encoder makes two states of them, because a trace takes lengths of one apart."""
    ((name, features),) = whole(model).items()

    def makes_two(frames: int) -> bool:
        return model.get_encoder()(**{name: features[:, :frames]}).last_hidden_state.shape[1] >= 2

    return fewest(makes_two, features.shape[1])


@torch.no_grad()
def fewest(enough: Callable[[int], bool], known: int) -> int:
    """The smallest number that is enough, by halving; `known` is. What is too short for a model's convolutions is an error of theirs, or too few outputs."""
    low, high = 0, known
    while high - low > 1:
        middle = (low + high) // 2
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of means over nothing
                found = enough(middle)
        except (RuntimeError, ValueError, IndexError):
            found = False
        low, high = (low, middle) if found else (middle, high)
    return high


def a_word(model: PreTrainedModel) -> int:
    """Any but padding, whose positions some models skip."""
    padding = {getattr(config, "pad_token_id", None) for config in (model.config, getattr(model, "generation_config", None))}
    return next(word for word in range(3) if word not in padding)


def _room(model: PreTrainedModel, source: torch.Tensor, **target: torch.Tensor) -> int | None:
    with torch.no_grad(), _TablesOfPositions() as tables:
        model(input_ids=source, attention_mask=torch.ones_like(source), return_dict=True, **target, **({"use_cache": False} if target else {}))
    return min(tables.room, default=None)


class _TablesOfPositions(TorchDispatchMode):
    """room: for every look-up at consecutive places, how many places the table has from the first of them on."""

    def __init__(self) -> None:
        super().__init__()
        self.room: list[int] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        if function in LOOK_UPS and args[0].dim() == 2 and (function is not torch.ops.aten.index_select.default or args[1] == 0):
            places = args[LOOK_UPS[function]].flatten()
            # A table that is read whole does not end where positions do: Pegasus-X looks its global tokens up so.
            if LENGTH <= len(places) < len(args[0]) and bool((places[1:] - places[:-1] == 1).all()):
                self.room.append(len(args[0]) - int(places[0]))
        return function(*args, **(kwargs or {}))
