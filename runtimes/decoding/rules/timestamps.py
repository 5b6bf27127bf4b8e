"""Times among the words of a transcript come in pairs, do not go back, and come where they are likelier than any word (Radford et al. 2023,
"Robust Speech Recognition via Large-Scale Weak Supervision"; transformers' WhisperTimeStampLogitsProcessor)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding.checks import check_in_vocabulary, check_whole
from zen_edge.runtimes.decoding.rule import Rescore, Rule, RuleOptions, Setting
from zen_edge.runtimes.decoding.step import Ids, Scores


@dataclass(frozen=True)
class Options(RuleOptions):
    """Tokens from no_timestamps_token_id on, it left out, are times. max_initial_timestamp_index: of the first one; None: any."""

    ORDER: ClassVar[int] = 90
    return_timestamps: bool | None = None
    no_timestamps_token_id: int | None = None
    max_initial_timestamp_index: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.return_timestamps, bool | None):
            raise OptionError(f"return_timestamps must be true or false, not {self.return_timestamps!r}.")
        for name in ("no_timestamps_token_id", "max_initial_timestamp_index"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 0)

    def rule(self, setting: Setting) -> Rule | None:
        if not self.return_timestamps:
            return None
        if self.no_timestamps_token_id is None:
            raise OptionError("return_timestamps needs a model that writes times: this one's generation config has no no_timestamps_token_id.")
        check_in_vocabulary("no_timestamps_token_id", [self.no_timestamps_token_id], setting.vocab_size)
        end = next(iter(setting.eos_token_ids), self.no_timestamps_token_id)
        return Timestamps(setting.start_length, self.no_timestamps_token_id, end, self.max_initial_timestamp_index)


@dataclass(frozen=True)
class Timestamps:
    start_length: int
    no_timestamps: int
    end: int  # tokens below it are words
    most_initial: int | None

    def __call__(self, ids: Ids) -> Rescore:
        rows: list[list[int]] = ids[:, self.start_length :].tolist()
        return Rescore(lambda scores: self._apply(rows, scores))

    def _apply(self, rows: Sequence[Sequence[int]], scores: Scores) -> Scores:
        scores, begin = scores.copy(), self.no_timestamps + 1
        scores[:, self.no_timestamps] = -np.inf
        for row, one in zip(rows, scores, strict=True):
            if not row:
                one[:begin] = -np.inf
                if self.most_initial is not None:
                    one[begin + self.most_initial + 1 :] = -np.inf
                continue
            ends_a_pair = len(row) < 2 or row[-2] >= begin
            if row[-1] >= begin:
                one[begin if ends_a_pair else 0 : None if ends_a_pair else self.end] = -np.inf
            last = next((token for token in reversed(row) if token >= begin), None)
            if last is not None:  # a time that ends a segment may begin the next one, and no other comes twice
                one[begin : last + (ends_a_pair or row[-1] < begin)] = -np.inf
        with np.errstate(invalid="ignore", divide="ignore"):
            times = scores[:, begin:]
            most = times.max(axis=1, initial=-np.inf)
            total = most + np.log(np.exp(times - most[:, None]).sum(axis=1))
        scores[total > scores[:, :begin].max(axis=1), :begin] = -np.inf
        return scores
