"""Bans the token that would complete an n-gram already there (Paulus et al. 2017, https://arxiv.org/abs/1705.04304)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

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
        places_of_ngrams = length - self.size + 1
        repeats = np.ones((len(ids), places_of_ngrams), np.bool_)
        for offset in range(self.size - 1):  # comparing slices costs a fifth of comparing windows
            repeats &= ids[:, offset : offset + places_of_ngrams] == ids[:, places_of_ngrams + offset, None]
        rows, places = repeats.nonzero()
        if not rows.size:
            return None
        banned: list[set[int]] = [set() for _ in range(len(ids))]
        for row, token in zip(rows.tolist(), ids[rows, places + self.size - 1].tolist(), strict=True):
            banned[row].add(token)
        return Ban([frozenset(row) for row in banned])
