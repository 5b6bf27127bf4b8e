"""Adds to the score of tokens, and to that of the last token of longer sequences once the tokens before it are there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding.checks import check_in_vocabulary, check_number, token_ids
from zen_edge.runtimes.decoding.rule import Rescore, Rule, RuleOptions, Setting
from zen_edge.runtimes.decoding.step import Ids, Scores


@dataclass(frozen=True)
class Options(RuleOptions):
    """sequence_bias: pairs of token ids and a number, or a dict from tuples of token ids to numbers."""

    ORDER: ClassVar[int] = 4
    sequence_bias: Sequence[Sequence[Any]] | Mapping[tuple[int, ...], float] | None = None

    def __post_init__(self) -> None:
        given = self.sequence_bias
        if given is None:
            return
        pairs = list(given.items()) if isinstance(given, Mapping) else given
        if not isinstance(pairs, list | tuple) or not pairs or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
            raise OptionError(f"sequence_bias must be a list of pairs [token ids, number], not {given!r}.")
        for sequence, bias in pairs:
            if not token_ids("each sequence in sequence_bias", sequence):
                raise OptionError("sequence_bias holds an empty sequence; each must name at least one token id.")
            check_number("each bias in sequence_bias", bias)

    def rule(self, setting: Setting) -> Rule | None:
        if self.sequence_bias is None:
            return None
        pairs: Iterable[Sequence[Any]] = self.sequence_bias.items() if isinstance(self.sequence_bias, Mapping) else self.sequence_bias
        # As in transformers, the last one counts where a sequence is given twice.
        biases = {token_ids("sequence_bias", sequence): float(bias) for sequence, bias in pairs}
        check_in_vocabulary("sequence_bias", [token for sequence in biases for token in sequence], setting.vocab_size)
        return SequenceBias.of(biases, setting.vocab_size)


@dataclass(frozen=True)
class SequenceBias:
    single: Scores  # (V,)
    # By the number of tokens before the last: these tokens -> what is added to the tokens that would follow them.
    longer: Mapping[int, Mapping[tuple[int, ...], Mapping[int, float]]]

    @classmethod
    def of(cls, biases: Mapping[tuple[int, ...], float], vocab_size: int) -> Self:
        single = np.zeros(vocab_size, np.float32)
        longer: dict[int, dict[tuple[int, ...], dict[int, float]]] = {}
        for (*before, last), bias in biases.items():
            if before:
                longer.setdefault(len(before), {}).setdefault(tuple(before), {})[last] = bias
            else:
                single[last] = bias
        return cls(single, longer)

    def __call__(self, ids: Ids) -> Rescore:
        return Rescore(lambda scores: self._biased(ids, scores))

    def _biased(self, ids: Ids, scores: Scores) -> Scores:
        bias = np.tile(self.single, (len(ids), 1))
        for length, endings in self.longer.items():
            if length <= ids.shape[1]:
                for row, before in enumerate(ids[:, -length:].tolist()):
                    for token, added in endings.get(tuple(before), {}).items():
                        bias[row, token] += np.float32(added)
        biased: Scores = scores + bias
        return biased
