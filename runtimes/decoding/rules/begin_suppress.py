"""Bans tokens at the first step that is free to choose."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from zen_edge.runtimes.decoding.checks import token_ids
from zen_edge.runtimes.decoding.rule import Ban, Rule, RuleOptions, Setting
from zen_edge.runtimes.decoding.step import Ids


@dataclass(frozen=True)
class Options(RuleOptions):
    ORDER: ClassVar[int] = 80
    begin_suppress_tokens: Sequence[int] | None = None

    def __post_init__(self) -> None:
        token_ids("begin_suppress_tokens", self.begin_suppress_tokens)

    def rule(self, setting: Setting) -> Rule | None:
        suppressed = frozenset(token_ids("begin_suppress_tokens", self.begin_suppress_tokens))
        # A forced first token takes the first step, so the first free one comes after it.
        first_is_forced = setting.start_length == 1 and setting.options.get("forced_bos_token_id") is not None
        return BeginSuppress(setting.start_length + first_is_forced, suppressed) if suppressed else None


@dataclass(frozen=True)
class BeginSuppress:
    length: int  # of the ids at the step that it acts on
    suppressed: frozenset[int]

    def __call__(self, ids: Ids) -> Ban | None:
        return Ban([self.suppressed] * len(ids)) if ids.shape[1] == self.length else None
