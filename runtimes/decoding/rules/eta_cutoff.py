"""Sampling: only tokens of a probability that falls with the entropy (Hewitt et al. 2022, https://arxiv.org/abs/2210.15191)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding.checks import check_number
from zen_edge.runtimes.decoding.probabilities import entropy, softmax, without
from zen_edge.runtimes.decoding.rule import Rule, RuleOptions, Setting, Warp
from zen_edge.runtimes.decoding.step import Ids, Scores


@dataclass(frozen=True)
class Options(RuleOptions):
    ORDER: ClassVar[int] = 260
    eta_cutoff: float = 0.0

    def __post_init__(self) -> None:
        check_number("eta_cutoff", self.eta_cutoff)
        if not 0 <= self.eta_cutoff < 1:
            raise OptionError(f"eta_cutoff must be at least 0 and below 1, not {self.eta_cutoff}.")

    def rule(self, setting: Setting) -> Rule | None:
        return EtaCutoff(float(self.eta_cutoff), setting.min_tokens_to_keep) if setting.sampling and self.eta_cutoff else None


@dataclass(frozen=True)
class EtaCutoff:
    epsilon: float
    least_kept: int

    def __call__(self, ids: Ids) -> Warp:
        return Warp(self._kept)

    def _kept(self, scores: Scores) -> Scores:
        eta = np.minimum(self.epsilon, np.sqrt(self.epsilon) * np.exp(-entropy(scores)))
        return without(scores, softmax(scores) < eta, self.least_kept)
