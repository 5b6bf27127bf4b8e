"""Sampling: only tokens with at least the share min_p of the likeliest token's probability (https://arxiv.org/abs/2407.01082)."""

from dataclasses import dataclass
from typing import ClassVar

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding.checks import check_number
from zen_edge.runtimes.decoding.probabilities import softmax, without
from zen_edge.runtimes.decoding.rule import Rule, RuleOptions, Setting, Warp
from zen_edge.runtimes.decoding.step import Ids, Scores


@dataclass(frozen=True)
class Options(RuleOptions):
    ORDER: ClassVar[int] = 230
    min_p: float | None = None

    def __post_init__(self) -> None:
        if self.min_p is None:
            return
        check_number("min_p", self.min_p)
        if not 0 <= self.min_p <= 1:
            raise OptionError(f"min_p must be between 0 and 1, not {self.min_p}.")

    def rule(self, setting: Setting) -> Rule | None:
        if self.min_p is None or not setting.sampling:
            return None
        return MinP(float(self.min_p), setting.min_tokens_to_keep)


@dataclass(frozen=True)
class MinP:
    share: float
    least_kept: int

    def __call__(self, ids: Ids) -> Warp:
        return Warp(self._kept)

    def _kept(self, scores: Scores) -> Scores:
        probabilities = softmax(scores)
        return without(scores, probabilities < self.share * probabilities.max(axis=1, keepdims=True), self.least_kept)
