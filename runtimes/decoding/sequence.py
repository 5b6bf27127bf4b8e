"""What a search gives back, and what it shows while it runs."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Sequence_:  # the field's own word, beside collections.abc.Sequence
    """tokens: the ids after the decoder's start, end token included, no padding. score: transformers' `sequences_scores` for beam
    search; for greedy search and sampling the mean over tokens of the log-softmax of the processed scores, NaN when scores were not
    asked for. log_probs: of each token, when asked for, that log-softmax of the scores that it was chosen from, after all rules and
    before beams add them up: transformers' `compute_transition_scores(normalize_logits=True)`."""

    tokens: tuple[int, ...]
    score: float
    log_probs: tuple[float, ...] | None = None


class SearchState(Protocol):
    """The state of a search after one step."""

    def settled(self) -> list[list[int]]:
        """For each input, the tokens so far that can no longer change."""
        ...

    def finished(self) -> list[list[Sequence_] | None]:
        """For each input, its sequences if its search is over, else None: what is left if the model fails at the next step."""
        ...

    def so_far(self) -> list[list[Sequence_]]:
        """For each input, its sequences if every search ended here, as when the length runs out at this step."""
        ...


EncoderIds = Sequence[Sequence[int]]  # of each input, without padding
Search = Generator[SearchState, None, list[list[Sequence_]]]


def greedy_sequence(tokens: list[int], log_probs: list[float], keep_log_probs: bool) -> Sequence_:
    """A sequence that no other competed with: its score is the mean over its tokens. Of `log_probs` those that `tokens` do not reach do not count."""
    log_probs = log_probs[: len(tokens)]
    return Sequence_(tuple(tokens), sum(log_probs) / len(log_probs), tuple(log_probs) if keep_log_probs else None)


def common_prefix(rows: list[list[int]]) -> list[int]:
    """The tokens with which all rows begin."""
    if not rows:
        return []
    first, last = min(rows), max(rows)  # in lexicographic order all others lie between these two
    for place, (one, other) in enumerate(zip(first, last, strict=False)):
        if one != other:
            return first[:place]
    return first
