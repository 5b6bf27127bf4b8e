"""Makes the tokens of the input more likely, so that the output says what the input says; below 1, less likely."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding.checks import check_number
from zen_edge.runtimes.decoding.rule import ByInput, Rescore, RuleOptions, Setting
from zen_edge.runtimes.decoding.step import Ids, Scores


@dataclass(frozen=True)
class Options(RuleOptions):
    ORDER: ClassVar[int] = 6
    encoder_repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        check_number("encoder_repetition_penalty", self.encoder_repetition_penalty)
        if self.encoder_repetition_penalty <= 0:
            raise OptionError(f"encoder_repetition_penalty must be above 0, not {self.encoder_repetition_penalty}; 1.0 changes nothing.")

    def rule(self, setting: Setting) -> ByInput | None:
        if self.encoder_repetition_penalty == 1:
            return None
        if setting.encoder_ids is None:
            raise OptionError("encoder_repetition_penalty needs an input made of token ids, which this task does not have: set it to 1.0.")
        said = [np.array(sorted({token for token in row if token < setting.vocab_size}), np.int64) for row in setting.encoder_ids]
        return ByInput(EncoderRepetitionPenalty(1 / float(self.encoder_repetition_penalty), said))


@dataclass(frozen=True)
class EncoderRepetitionPenalty:
    penalty: float
    said: Sequence[Ids]  # of each input, its tokens, each once

    def __call__(self, ids: Ids, inputs: Sequence[int]) -> Rescore:
        return Rescore(lambda scores: self._penalized(inputs, scores))

    def _penalized(self, inputs: Sequence[int], scores: Scores) -> Scores:
        penalized = scores.copy()
        copies = len(scores) // max(1, len(inputs))
        for row, given in enumerate(scores):
            said = self.said[inputs[row // copies]]
            penalized[row, said] = np.where(given[said] < 0, given[said] * self.penalty, given[said] / self.penalty)
        return penalized
