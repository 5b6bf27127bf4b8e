"""Sampling: flattens the distribution above 1, sharpens it below (Ackley et al. 1985)."""

from dataclasses import dataclass
from typing import ClassVar

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding.checks import check_number
from zen_edge.runtimes.decoding.rule import Rule, RuleOptions, Scale, Setting
from zen_edge.runtimes.decoding.step import Ids


@dataclass(frozen=True)
class Options(RuleOptions):
    ORDER: ClassVar[int] = 200
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature)
        if self.temperature <= 0:
            raise OptionError(f"temperature must be above 0, not {self.temperature}; for the likeliest token at every step set do_sample to False.")

    def rule(self, setting: Setting) -> Rule | None:
        return Temperature(Scale(float(self.temperature))) if setting.sampling and self.temperature != 1 else None


@dataclass(frozen=True)
class Temperature:
    scale: Scale

    def __call__(self, ids: Ids) -> Scale:
        return self.scale
