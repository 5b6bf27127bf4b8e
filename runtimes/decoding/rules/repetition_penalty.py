"""Makes every token that was already generated less likely (Keskar et al. 2019, https://arxiv.org/abs/1909.05858)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding.checks import check_number
from zen_edge.runtimes.decoding.rule import Rescore, Rule, RuleOptions, Setting
from zen_edge.runtimes.decoding.step import Ids, Scores


@dataclass(frozen=True)
class Options(RuleOptions):
    ORDER: ClassVar[int] = 10
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        check_number("repetition_penalty", self.repetition_penalty)
        if self.repetition_penalty <= 0:
            raise OptionError(f"repetition_penalty must be above 0, not {self.repetition_penalty}; 1.0 changes nothing.")

    def rule(self, setting: Setting) -> Rule | None:
        return RepetitionPenalty(float(self.repetition_penalty)) if self.repetition_penalty != 1 else None


@dataclass(frozen=True)
class RepetitionPenalty:
    penalty: float

    def __call__(self, ids: Ids) -> Rescore:
        return Rescore(lambda scores: self._penalized(ids, scores))

    def _penalized(self, ids: Ids, scores: Scores) -> Scores:
        # Ids beyond the scores (an embedding larger than the output head) fall into a spare column.
        seen = np.minimum(ids, scores.shape[1])
        padded = np.pad(scores, ((0, 0), (0, 1)))
        score = np.take_along_axis(padded, seen, axis=1)
        np.put_along_axis(padded, seen, np.where(score < 0, score * self.penalty, score / self.penalty), axis=1)
        return padded[:, :-1]
