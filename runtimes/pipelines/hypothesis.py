"""What a pipeline answers with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Hypothesis:
    """One result. tokens: the ids after the decoder's start, a `decoder_prefix` and the end token included; text is what they say. score:
    transformers' `sequences_scores`; for greedy search and sampling the mean log-probability of the generated tokens. log_probs: of each
    generated token, with `token_log_probs=True`; a prefix, which comes before them, has none. repetition_guard: the output went round in circles, and this
    one was decoded in its place. segments: the parts of a text that was split; tokens and log_probs are then those of the parts one after another, and
    score is the mean of theirs, by tokens."""

    text: str
    tokens: tuple[int, ...]
    score: float
    log_probs: tuple[float, ...] | None = None
    repetition_guard: bool = False
    segments: tuple[Segment, ...] = ()


class Segment(NamedTuple):
    """A part of a text that was split, as it stands there, and its result."""

    source: str
    hypothesis: Hypothesis


def whole(text: str, segments: Sequence[Segment], with_log_probs: bool) -> Hypothesis:
    """The result of a text whose parts have these."""
    parts = [segment.hypothesis for segment in segments]
    tokens = tuple(token for part in parts for token in part.tokens)
    score = sum(part.score * len(part.tokens) for part in parts) / max(1, len(tokens))
    log_probs = tuple(each for part in parts for each in part.log_probs or ()) if with_log_probs else None
    return Hypothesis(text, tokens, score, log_probs, any(part.repetition_guard for part in parts), tuple(segments))
