"""Makes the end tokens more and more likely once the output has a given length."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding.checks import check_number, check_whole
from zen_edge.runtimes.decoding.rule import Rescore, Rule, RuleOptions, Setting
from zen_edge.runtimes.decoding.step import Ids, Scores


@dataclass(frozen=True)
class Options(RuleOptions):
    """exponential_decay_length_penalty: the number of new tokens after which it begins, and the factor by which it grows."""

    ORDER: ClassVar[int] = 65
    exponential_decay_length_penalty: Sequence[float] | None = None

    def __post_init__(self) -> None:
        given = self.exponential_decay_length_penalty
        if given is None:
            return
        if not isinstance(given, list | tuple) or len(given) != 2:
            raise OptionError(f"exponential_decay_length_penalty must be a pair [number of tokens, factor], not {given!r}.")
        check_whole("the number of tokens in exponential_decay_length_penalty", given[0], 0)
        check_number("the factor in exponential_decay_length_penalty", given[1])

    def rule(self, setting: Setting) -> Rule | None:
        if self.exponential_decay_length_penalty is None:
            return None
        if not setting.eos_token_ids:
            raise OptionError("exponential_decay_length_penalty needs an end token to favour: set eos_token_id.")
        begin, factor = self.exponential_decay_length_penalty
        return ExponentialDecay(setting.start_length + int(begin), float(factor), tuple(dict.fromkeys(setting.eos_token_ids)))


@dataclass(frozen=True)
class ExponentialDecay:
    begin: int  # decoder ids, start included
    factor: float
    eos_token_ids: tuple[int, ...]

    def __call__(self, ids: Ids) -> Rescore | None:
        over = ids.shape[1] - self.begin
        return Rescore(lambda scores: self._favoured(over, scores)) if over > 0 else None

    def _favoured(self, over: int, scores: Scores) -> Scores:
        ends = [token for token in self.eos_token_ids if token < scores.shape[1]]
        given = scores[:, ends]
        with np.errstate(invalid="ignore"):
            # Of the absolute value, so that it adds to negative scores too; what a rule has banned stays banned.
            added = np.where(np.isfinite(given), np.abs(given) * np.float32(self.factor**over - 1), np.float32(0))
        favoured = scores.copy()
        favoured[:, ends] = given + added
        return favoured
