"""What a logits rule is: from the ids so far it tells what will happen to the next scores.

A rule that only bans or forces tokens says so before the step, so that a search can do with the best candidates instead of
every score. Each effect can also be applied to the full scores; both ways give the same result.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from zen_edge.runtimes.decoding.step import Ids, Scores


@dataclass(frozen=True)
class Ban:
    """Tokens that may not come next, one set a row; rows may share a set. Ids outside the vocabulary change nothing."""

    rows: Sequence[frozenset[int]]

    def apply(self, scores: Scores) -> Scores:
        banned = scores.copy()
        if all(row is self.rows[0] for row in self.rows):
            banned[:, within_vocabulary(self.rows[0], scores.shape[1])] = -np.inf
        else:
            for scores_of_row, row in zip(banned, self.rows, strict=True):
                scores_of_row[within_vocabulary(row, scores.shape[1])] = -np.inf
        return banned


@dataclass(frozen=True)
class Force:
    """Only these tokens may come next, each with score 0, whatever the model says."""

    ids: tuple[int, ...]

    def apply(self, scores: Scores) -> Scores:
        forced = np.full_like(scores, -np.inf)
        forced[:, list(self.ids)] = 0
        return forced


@dataclass(frozen=True)
class Rescore:
    """Any other change; needs every score, so a search takes the slow path."""

    apply: Callable[[Scores], Scores]


@dataclass(frozen=True)
class Scale:
    """Sampling: every score divided by the temperature."""

    temperature: float

    def apply(self, scores: Scores) -> Scores:
        scaled: Scores = scores / np.float32(self.temperature)
        return scaled


@dataclass(frozen=True)
class TopK:
    """Sampling: only the best k of each row may come next, and what equals the last of them."""

    k: int

    def apply(self, scores: Scores) -> Scores:
        return np.where(scores < self.least(scores), np.float32(-np.inf), scores)

    def least(self, scores: Scores) -> Scores:
        """(R,1) the k-th best score."""
        place = max(0, scores.shape[1] - self.k)
        least: Scores = np.partition(scores, place, axis=1)[:, place : place + 1]
        return least


@dataclass(frozen=True)
class Warp:
    """Sampling: any other change in which a score counts by its size alone and a score of -inf not at all. After a TopK it can
    do with the best candidates; without one it needs every score."""

    apply: Callable[[Scores], Scores]


@dataclass(frozen=True)
class Normalize:
    """The scores become log-probabilities again: what the rules before took away is shared out among the rest. Comes last."""

    def apply(self, scores: Scores) -> Scores:
        with np.errstate(invalid="ignore", divide="ignore"):
            shifted: Scores = scores - scores.max(axis=1, keepdims=True)
            normal: Scores = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return np.where(np.isnan(normal), scores, normal)  # a row in which nothing is allowed stays as it is


Effect = Ban | Force | Rescore | Scale | TopK | Warp | Normalize


class Rule(Protocol):
    """`ids` are all decoder ids so far (R,t), start included; None when the rule does nothing at this step."""

    def __call__(self, ids: Ids) -> Effect | None: ...


@dataclass(frozen=True)
class ByInput:
    """A rule that must know which inputs the rows belong to: they come in order, each with the same number of rows."""

    rule: Callable[[Ids, Sequence[int]], Effect | None]


@dataclass(frozen=True)
class Setting:
    """What a rule may know of the search it serves; lengths count the decoder's start."""

    start_length: int
    max_length: int
    vocab_size: int
    eos_token_ids: tuple[int, ...]
    options: Mapping[str, object]  # every option by name, for the few rules that depend on another's
    encoder_ids: Sequence[Sequence[int]] | None = None  # of each input, where the search was given them

    @property
    def sampling(self) -> bool:
        return bool(self.options.get("do_sample"))

    @property
    def min_tokens_to_keep(self) -> int:
        """What each filter of sampling leaves, as in transformers: a beam must be able to go on even if every end token is likely."""
        return 1 if self.options.get("num_beams") == 1 else 1 + max(1, len(self.eos_token_ids))


@dataclass(frozen=True)
class RuleOptions:
    """The options of one rule: the fields of the subclass, named as in transformers, checked when made.

    Each module in `rules/` has one subclass, called `Options`.
    """

    ORDER: ClassVar[int]  # rules apply in ascending order, which is transformers' own

    def rule(self, setting: Setting) -> Rule | ByInput | None:
        """The rule these options ask for; None when they ask for nothing."""
        raise NotImplementedError


def within_vocabulary(row: frozenset[int], vocab_size: int) -> list[int]:
    return [token for token in row if 0 <= token < vocab_size]
