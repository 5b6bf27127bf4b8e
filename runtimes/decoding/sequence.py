"""What a search gives back, and what it shows while it runs."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Sequence_:  # the field's own word, beside collections.abc.Sequence
    """tokens: the ids after the decoder's start, end token included, no padding. score: transformers' `sequences_scores` for beam
    search; for greedy search the mean over tokens of the log-softmax of the processed scores, NaN when scores were not asked for."""

    tokens: tuple[int, ...]
    score: float


class SearchState(Protocol):
    """The state of a search after one step."""

    def settled(self) -> list[list[int]]:
        """For each input, the tokens so far that can no longer change."""
        ...

    def finished(self) -> list[list[Sequence_] | None]:
        """For each input, its sequences if its search is over, else None: what is left if the model fails at the next step."""
        ...


Search = Generator[SearchState, None, list[list[Sequence_]]]


def common_prefix(rows: list[list[int]]) -> list[int]:
    """The tokens with which all rows begin."""
    if not rows:
        return []
    first, last = min(rows), max(rows)  # in lexicographic order all others lie between these two
    for place, (one, other) in enumerate(zip(first, last, strict=False)):
        if one != other:
            return first[:place]
    return first
