"""Sampling: only the k likeliest tokens (Fan et al. 2018, https://arxiv.org/abs/1805.04833)."""

from dataclasses import dataclass
from typing import ClassVar

from zen_edge.runtimes.decoding.checks import check_whole
from zen_edge.runtimes.decoding.rule import Rule, RuleOptions, Setting, TopK
from zen_edge.runtimes.decoding.step import Ids


@dataclass(frozen=True)
class Options(RuleOptions):
    ORDER: ClassVar[int] = 210
    top_k: int = 50  # 0: all

    def __post_init__(self) -> None:
        check_whole("top_k", self.top_k, 0)

    def rule(self, setting: Setting) -> Rule | None:
        return KeepTopK(TopK(max(self.top_k, setting.min_tokens_to_keep))) if setting.sampling and self.top_k else None


@dataclass(frozen=True)
class KeepTopK:
    effect: TopK

    def __call__(self, ids: Ids) -> TopK:
        return self.effect
