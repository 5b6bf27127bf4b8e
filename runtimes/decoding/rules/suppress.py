"""Bans tokens at every step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding.checks import token_ids
from zen_edge.runtimes.decoding.rule import Ban, Rule, RuleOptions, Setting
from zen_edge.runtimes.decoding.step import Ids


@dataclass(frozen=True)
class Options(RuleOptions):
    ORDER: ClassVar[int] = 70
    suppress_tokens: Sequence[int] | None = None

    def __post_init__(self) -> None:
        token_ids("suppress_tokens", self.suppress_tokens)

    def rule(self, setting: Setting) -> Rule | None:
        suppressed = frozenset(token_ids("suppress_tokens", self.suppress_tokens))
        for name in ("forced_bos_token_id", "forced_eos_token_id"):
            forced = token_ids(name, setting.options.get(name))
            if forced and suppressed.issuperset(forced):
                raise OptionError(f"{name} forces {list(forced)}, which suppress_tokens bans: take it out of one of the two.")
        return Suppress(suppressed) if suppressed else None


@dataclass(frozen=True)
class Suppress:
    suppressed: frozenset[int]

    def __call__(self, ids: Ids) -> Ban:
        return Ban([self.suppressed] * len(ids))
