"""Makes the processed scores sum to one again."""

from dataclasses import dataclass
from typing import ClassVar

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding.rule import Normalize, Rule, RuleOptions, Setting
from zen_edge.runtimes.decoding.step import Ids


@dataclass(frozen=True)
class Options(RuleOptions):
    ORDER: ClassVar[int] = 1000
    renormalize_logits: bool | None = None

    def __post_init__(self) -> None:
        if self.renormalize_logits not in (None, True, False):
            raise OptionError(f"renormalize_logits must be true or false, not {self.renormalize_logits!r}.")

    def rule(self, setting: Setting) -> Rule | None:
        return Renormalize() if self.renormalize_logits else None


@dataclass(frozen=True)
class Renormalize:
    def __call__(self, ids: Ids) -> Normalize:
        return Normalize()
