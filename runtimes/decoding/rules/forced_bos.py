"""Forces the first generated token, as multilingual models do to choose the target language."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from zen_edge.runtimes.decoding.checks import check_in_vocabulary, token_ids
from zen_edge.runtimes.decoding.rule import Force, Rule, RuleOptions, Setting
from zen_edge.runtimes.decoding.step import Ids


@dataclass(frozen=True)
class Options(RuleOptions):
    ORDER: ClassVar[int] = 50
    forced_bos_token_id: int | Sequence[int] | None = None

    def __post_init__(self) -> None:
        token_ids("forced_bos_token_id", self.forced_bos_token_id)

    def rule(self, setting: Setting) -> Rule | None:
        ids = token_ids("forced_bos_token_id", self.forced_bos_token_id)
        check_in_vocabulary("forced_bos_token_id", ids, setting.vocab_size)
        return ForcedBos(Force(ids)) if ids else None


@dataclass(frozen=True)
class ForcedBos:
    force: Force

    def __call__(self, ids: Ids) -> Force | None:
        return self.force if ids.shape[1] == 1 else None
