"""Bans the token that would complete an n-gram already there (Paulus et al. 2017, https://arxiv.org/abs/1705.04304)."""

from dataclasses import dataclass
from typing import ClassVar

from numpy.lib.stride_tricks import sliding_window_view

from zen_edge.runtimes.decoding.checks import check_whole
from zen_edge.runtimes.decoding.rule import Ban, Rule, RuleOptions, Setting
from zen_edge.runtimes.decoding.step import Ids


@dataclass(frozen=True)
class Options(RuleOptions):
    ORDER: ClassVar[int] = 20
    no_repeat_ngram_size: int = 0

    def __post_init__(self) -> None:
        check_whole("no_repeat_ngram_size", self.no_repeat_ngram_size, 0)

    def rule(self, setting: Setting) -> Rule | None:
        return NoRepeatNgram(self.no_repeat_ngram_size) if self.no_repeat_ngram_size else None


@dataclass(frozen=True)
class NoRepeatNgram:
    size: int

    def __call__(self, ids: Ids) -> Ban | None:
        length = ids.shape[1]
        if length < self.size:
            return None
        windows = sliding_window_view(ids, self.size, axis=1)  # (R, t - size + 1, size)
        suffix = ids[:, None, length + 1 - self.size :]
        repeats = (windows[:, :, :-1] == suffix).all(axis=2)
        rows, places = repeats.nonzero()
        if not rows.size:
            return None
        banned: list[set[int]] = [set() for _ in range(len(ids))]
        for row, token in zip(rows.tolist(), windows[rows, places, -1].tolist(), strict=True):
            banned[row].add(token)
        return Ban([frozenset(row) for row in banned])
