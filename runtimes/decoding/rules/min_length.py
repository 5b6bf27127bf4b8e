"""Bans the end tokens until the output is long enough."""

from dataclasses import dataclass
from typing import ClassVar

from zen_edge.runtimes.decoding.checks import check_whole
from zen_edge.runtimes.decoding.rule import Ban, Rule, RuleOptions, Setting
from zen_edge.runtimes.decoding.step import Ids


@dataclass(frozen=True)
class Options(RuleOptions):
    """min_length counts the decoder's start, min_new_tokens does not and wins when both are given."""

    ORDER: ClassVar[int] = 40
    min_length: int = 0
    min_new_tokens: int | None = None

    def __post_init__(self) -> None:
        check_whole("min_length", self.min_length, 0)
        if self.min_new_tokens is not None:
            check_whole("min_new_tokens", self.min_new_tokens, 0)

    def rule(self, setting: Setting) -> Rule | None:
        least = self.min_length if self.min_new_tokens is None else setting.start_length + self.min_new_tokens
        return MinLength(least, frozenset(setting.eos_token_ids)) if least and setting.eos_token_ids else None


@dataclass(frozen=True)
class MinLength:
    least: int  # decoder ids, start included
    eos_token_ids: frozenset[int]

    def __call__(self, ids: Ids) -> Ban | None:
        return Ban([self.eos_token_ids] * len(ids)) if ids.shape[1] < self.least else None
