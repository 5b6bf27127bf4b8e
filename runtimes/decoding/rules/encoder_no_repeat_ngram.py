"""Bans the token that would complete an n-gram of the input, so that the output is no copy of it (Roller et al. 2020,
https://arxiv.org/abs/2004.13637)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding.checks import check_whole
from zen_edge.runtimes.decoding.rule import Ban, ByInput, RuleOptions, Setting
from zen_edge.runtimes.decoding.step import Ids

NOTHING: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Options(RuleOptions):
    ORDER: ClassVar[int] = 25
    encoder_no_repeat_ngram_size: int = 0

    def __post_init__(self) -> None:
        check_whole("encoder_no_repeat_ngram_size", self.encoder_no_repeat_ngram_size, 0)

    def rule(self, setting: Setting) -> ByInput | None:
        if not self.encoder_no_repeat_ngram_size:
            return None
        if setting.encoder_ids is None:
            raise OptionError("encoder_no_repeat_ngram_size needs an input made of token ids, which this task does not have: set it to 0.")
        return ByInput(EncoderNoRepeatNgram.of(self.encoder_no_repeat_ngram_size, setting.encoder_ids))


@dataclass(frozen=True)
class EncoderNoRepeatNgram:
    size: int
    endings: Sequence[Mapping[tuple[int, ...], frozenset[int]]]  # of each input: the n-gram but its last token -> its last tokens

    @classmethod
    def of(cls, size: int, encoder_ids: Sequence[Sequence[int]]) -> Self:
        return cls(size, [_endings(size, row) for row in encoder_ids])

    def __call__(self, ids: Ids, inputs: Sequence[int]) -> Ban | None:
        first = ids.shape[1] + 1 - self.size
        if first < 0:
            return None
        copies = len(ids) // max(1, len(inputs))
        rows = [self.endings[inputs[row // copies]].get(tuple(suffix), NOTHING) for row, suffix in enumerate(ids[:, first:].tolist())]
        return Ban(rows) if any(rows) else None


def _endings(size: int, row: Sequence[int]) -> Mapping[tuple[int, ...], frozenset[int]]:
    endings: dict[tuple[int, ...], set[int]] = {}
    for *before, last in zip(*(row[place:] for place in range(size)), strict=False):
        endings.setdefault(tuple(before), set()).add(last)
    return {before: frozenset(tokens) for before, tokens in endings.items()}
