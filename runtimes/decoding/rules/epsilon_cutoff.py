"""Sampling: only tokens of at least this probability (Hewitt et al. 2022, https://arxiv.org/abs/2210.15191)."""

from dataclasses import dataclass
from typing import ClassVar

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding.checks import check_number
from zen_edge.runtimes.decoding.probabilities import softmax, without
from zen_edge.runtimes.decoding.rule import Rule, RuleOptions, Setting, Warp
from zen_edge.runtimes.decoding.step import Ids, Scores


@dataclass(frozen=True)
class Options(RuleOptions):
    ORDER: ClassVar[int] = 250
    epsilon_cutoff: float = 0.0

    def __post_init__(self) -> None:
        check_number("epsilon_cutoff", self.epsilon_cutoff)
        if not 0 <= self.epsilon_cutoff < 1:
            raise OptionError(f"epsilon_cutoff must be at least 0 and below 1, not {self.epsilon_cutoff}.")

    def rule(self, setting: Setting) -> Rule | None:
        return EpsilonCutoff(float(self.epsilon_cutoff), setting.min_tokens_to_keep) if setting.sampling and self.epsilon_cutoff else None


@dataclass(frozen=True)
class EpsilonCutoff:
    epsilon: float
    least_kept: int

    def __call__(self, ids: Ids) -> Warp:
        return Warp(self._kept)

    def _kept(self, scores: Scores) -> Scores:
        return without(scores, softmax(scores) < self.epsilon, self.least_kept)
