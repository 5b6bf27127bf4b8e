"""Bans tokens, and the last token of longer sequences once the tokens before it are there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding.checks import check_in_vocabulary, token_ids
from zen_edge.runtimes.decoding.rule import Ban, Rule, RuleOptions, Setting
from zen_edge.runtimes.decoding.step import Ids


@dataclass(frozen=True)
class Options(RuleOptions):
    ORDER: ClassVar[int] = 30
    bad_words_ids: Sequence[Sequence[int]] | None = None

    def __post_init__(self) -> None:
        words = self.bad_words_ids
        if words is None:
            return
        if isinstance(words, str) or not isinstance(words, Sequence) or not words or not all(isinstance(word, Sequence) for word in words):
            raise OptionError(f"bad_words_ids must be a list of lists of token ids, not {words!r}.")
        if not all(token_ids("each list in bad_words_ids", word) for word in words):
            raise OptionError("bad_words_ids holds an empty list; each must name at least one token id.")

    def rule(self, setting: Setting) -> Rule | None:
        if self.bad_words_ids is None:
            return None
        check_in_vocabulary("bad_words_ids", [token for word in self.bad_words_ids for token in word], setting.vocab_size)
        # As in transformers, the end token cannot be a bad word: that search could not stop.
        words = [tuple(word) for word in self.bad_words_ids if not (len(word) == 1 and word[0] in setting.eos_token_ids)]
        return BadWords.of(words) if words else None


@dataclass(frozen=True)
class BadWords:
    single: frozenset[int]
    # By the number of tokens before the last: these tokens -> what may not follow them. A look-up, however many words there are.
    longer: Mapping[int, Mapping[tuple[int, ...], frozenset[int]]]

    @classmethod
    def of(cls, words: Sequence[tuple[int, ...]]) -> Self:
        longer: dict[int, dict[tuple[int, ...], frozenset[int]]] = {}
        for *before, last in words:
            if before:
                endings = longer.setdefault(len(before), {})
                endings[tuple(before)] = endings.get(tuple(before), frozenset()) | {last}
        return cls(frozenset(word[0] for word in words if len(word) == 1), longer)

    def __call__(self, ids: Ids) -> Ban:
        rows = [self.single] * len(ids)
        for length, endings in self.longer.items():
            if length <= ids.shape[1]:
                for row, before in enumerate(ids[:, -length:].tolist()):
                    if banned := endings.get(tuple(before)):
                        rows[row] = rows[row] | banned
        return Ban(rows)
