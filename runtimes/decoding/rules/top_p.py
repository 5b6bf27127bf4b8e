"""Sampling: the fewest tokens that together reach probability p (Holtzman et al. 2019, https://arxiv.org/abs/1904.09751)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding.checks import check_number
from zen_edge.runtimes.decoding.probabilities import softmax
from zen_edge.runtimes.decoding.rule import Rule, RuleOptions, Setting, Warp
from zen_edge.runtimes.decoding.step import Ids, Scores


@dataclass(frozen=True)
class Options(RuleOptions):
    ORDER: ClassVar[int] = 220
    top_p: float = 1.0

    def __post_init__(self) -> None:
        check_number("top_p", self.top_p)
        if not 0 <= self.top_p <= 1:
            raise OptionError(f"top_p must be between 0 and 1, not {self.top_p}.")

    def rule(self, setting: Setting) -> Rule | None:
        return TopP(float(self.top_p), setting.min_tokens_to_keep) if setting.sampling and self.top_p < 1 else None


@dataclass(frozen=True)
class TopP:
    p: float
    least_kept: int

    def __call__(self, ids: Ids) -> Warp:
        return Warp(self._kept)

    def _kept(self, scores: Scores) -> Scores:
        ordered = np.sort(scores, axis=1)  # the least likely first
        removed = (softmax(ordered).cumsum(axis=1) <= np.float32(1 - self.p)).sum(axis=1, keepdims=True)
        removed = np.minimum(removed, max(0, scores.shape[1] - self.least_kept))
        least = np.take_along_axis(ordered, removed, axis=1)
        kept = np.where(scores < least, np.float32(-np.inf), scores)
        for row in (removed > (scores < least).sum(axis=1, keepdims=True)).nonzero()[0].tolist():  # equals of the last one must go too
            equals = (scores[row] == least[row]).nonzero()[0]
            kept[row, equals[: removed[row, 0] - (scores[row] < least[row]).sum()]] = -np.inf
        return kept
