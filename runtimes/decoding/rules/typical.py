"""Sampling: the tokens whose surprise is nearest to the expected one, up to probability typical_p (Meister et al. 2022,
https://arxiv.org/abs/2202.00666)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding.checks import check_number
from zen_edge.runtimes.decoding.probabilities import entropy, log_softmax, softmax
from zen_edge.runtimes.decoding.rule import Rule, RuleOptions, Setting, Warp
from zen_edge.runtimes.decoding.step import Ids, Scores


@dataclass(frozen=True)
class Options(RuleOptions):
    ORDER: ClassVar[int] = 240
    typical_p: float = 1.0

    def __post_init__(self) -> None:
        check_number("typical_p", self.typical_p)
        if not 0 < self.typical_p <= 1:
            raise OptionError(f"typical_p must be above 0 and at most 1, not {self.typical_p}.")

    def rule(self, setting: Setting) -> Rule | None:
        return Typical(float(self.typical_p), setting.min_tokens_to_keep) if setting.sampling and self.typical_p < 1 else None


@dataclass(frozen=True)
class Typical:
    mass: float
    least_kept: int

    def __call__(self, ids: Ids) -> Warp:
        return Warp(self._kept)

    def _kept(self, scores: Scores) -> Scores:
        distance = np.abs(-log_softmax(scores) - entropy(scores))
        order = np.argsort(distance, axis=1)
        reached = softmax(np.take_along_axis(scores, order, axis=1)).cumsum(axis=1)
        last = (reached < np.float32(self.mass)).sum(axis=1, keepdims=True)
        last = np.minimum(np.maximum(last, self.least_kept - 1), scores.shape[1] - 1)
        farthest = np.take_along_axis(distance, np.take_along_axis(order, last, axis=1), axis=1)
        return np.where(distance > farthest, np.float32(-np.inf), scores)
