"""The best next tokens of each row, after the rules: from the step's top candidates where that is exact, else from every score."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zen_edge.errors import ZenEdgeError
from zen_edge.runtimes.decoding.rule import Ban, Effect, Force, Normalize, Rescore, Rule, within_vocabulary
from zen_edge.runtimes.decoding.step import Ids, Scores, StepScores

# A banned token outside the step's candidates may be left out of the sum of probabilities up to this share: below float32's precision.
NEGLIGIBLE_SHARE = 1e-7
# Of the probability that must be left after the bans for the difference of two sums to keep enough digits.
LEAST_SHARE_LEFT = 0.5
MOST_BANS = 256  # of a row; beyond, asking the step for so many more candidates costs more than reading every score


@dataclass(frozen=True)
class Request:
    """What a search asks of the next step, known from the ids so far."""

    wanted: int  # candidates a row
    vocab_size: int
    effects: tuple[Effect, ...]  # what the rules will do, from the last forcing one on: it wipes out what came before
    source: Literal["top", "forced", "all"]
    banned: Sequence[frozenset[int]] | None  # of each row, unless source is "all"
    top_k: int  # to ask the step for

    @property
    def normalized(self) -> bool:
        """Whether the scores are shared out among the tokens that the rules left."""
        return bool(self.effects) and isinstance(self.effects[-1], Normalize)


@dataclass(frozen=True)
class Candidates:
    """Tokens and processed scores (R,K); banned tokens may be among them, with score -inf."""

    scores: Scores
    ids: Ids
    every_score: Scores | None = None  # (R,V) processed, where they had to be read


def request(rules: Sequence[Rule], ids: Ids, wanted: int, vocab_size: int) -> Request:
    """What to ask the step for, so that `wanted` candidates a row are left after `rules`, given all ids so far (R,t)."""
    effects: tuple[Effect, ...] = ()
    for rule in rules:
        effect = rule(ids)
        if isinstance(effect, Force):
            effects = (effect,)
        elif effect is not None:
            effects = (*effects, effect)
    wanted = min(wanted, vocab_size)
    if not effects:
        return Request(wanted, vocab_size, effects, "top", None, wanted)
    bans = [effect.rows for effect in effects if isinstance(effect, Ban)]
    banned = None if not bans else bans[0] if len(bans) == 1 else [frozenset().union(*rows) for rows in zip(*bans, strict=True)]
    most = max(map(len, banned)) if banned else 0
    if any(isinstance(effect, Rescore) for effect in effects) or most > MOST_BANS:
        return Request(wanted, vocab_size, effects, "all", None, 1)
    if isinstance(effects[0], Force):
        return Request(wanted, vocab_size, effects, "forced", banned, 1)
    return Request(wanted, vocab_size, effects, "top", banned, min(wanted + most, vocab_size))


def candidates(asked: Request, scores: StepScores, *, log_probs: bool) -> Candidates:
    """The candidates that were asked for. With `log_probs` the rules work on the log-softmax, as in beam search, else on the logits.

    Raises ZenEdgeError when the scores of a row are not numbers, or none of them is finite.
    """
    if asked.source == "forced":
        return _forced(asked, rows=len(scores.top_scores))
    if asked.source == "all":
        logits = scores.logits().astype(np.float32, copy=False)
        _check(logits.max(axis=1), None)
        return _best(every_score(asked, logits, log_probs=log_probs), asked.wanted)
    _check(scores.top_scores.max(axis=1), scores.log_sum_exp)
    return _top(asked, scores, log_probs)


def every_score(asked: Request, logits: Scores, *, log_probs: bool) -> Scores:
    """Every score (R,V) after the rules."""
    scores = log_softmax(logits) if log_probs else logits
    for effect in asked.effects:
        scores = effect.apply(scores)
    return scores


def log_softmax(scores: Scores) -> Scores:
    """Over the last axis, where each row holds a finite score."""
    shifted: Scores = scores - scores.max(axis=-1, keepdims=True)
    sums: Scores = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted - sums


def _check(best: Scores, log_sum_exp: Scores | None) -> None:
    sound: NDArray[np.bool_] = np.isfinite(best)
    if log_sum_exp is not None:
        sound = sound & np.isfinite(log_sum_exp)
    if not sound.all():
        raise ZenEdgeError(
            f"The decoder's scores are not numbers (NaN or infinite) in row {sound.argmin()} of {len(sound)}: the weights are damaged "
            "or overflow; check the bundle with `zen-edge parity`, or export it with --precision fp32."
        )


def _top(asked: Request, scores: StepScores, log_probs: bool) -> Candidates:
    found = scores.top_scores
    if log_probs:
        assert scores.log_sum_exp is not None
        sums = log_sum_allowed(asked, scores) if asked.normalized else scores.log_sum_exp
        if sums is None:
            return _best(every_score(asked, scores.logits(), log_probs=True), asked.wanted)
        found = found - sums[:, None]
    if asked.banned is not None:
        mask = [[token in row for token in tokens] for tokens, row in zip(scores.top_ids.tolist(), asked.banned, strict=True)]
        found = np.where(mask, np.float32(-np.inf), found)
    return Candidates(found, scores.top_ids)


def _forced(asked: Request, rows: int) -> Candidates:
    force = asked.effects[0]
    assert isinstance(force, Force)
    tokens = sorted(set(force.ids))  # equals among them: the lowest id comes first, as in torch.argmax
    # Fewer forced tokens than candidates: the rest of the vocabulary follows, all of it at -inf.
    tokens += islice((token for token in range(asked.vocab_size) if token not in force.ids), max(0, asked.wanted - len(tokens)))
    ids = np.tile(np.array(tokens, np.int64), (rows, 1))
    found = np.where(np.isin(ids, force.ids), np.float32(0), np.float32(-np.inf))
    if asked.banned is not None:
        found = np.where([[token in row for token in tokens] for row in asked.banned], np.float32(-np.inf), found)
    return Candidates(Normalize().apply(found) if asked.normalized else found, ids)


def log_sum_allowed(asked: Request, scores: StepScores) -> Scores | None:
    """(R,) the log-sum-exp without the banned tokens, from that of all; None when the difference would lose too many digits."""
    sums = scores.log_sum_exp
    assert sums is not None
    if asked.banned is None:
        return sums
    shares: Scores = np.exp(scores.top_scores - sums[:, None])  # (R,K)
    banned = np.array([[token in row for token in tokens] for tokens, row in zip(scores.top_ids.tolist(), asked.banned, strict=True)])
    unseen = np.array([len(row) for row in asked.banned]) - banned.sum(axis=1)
    if (unseen * shares[:, -1] <= NEGLIGIBLE_SHARE).all():
        left = 1 - (shares * banned).sum(axis=1)
    else:
        logits = scores.logits()
        of_banned = (logits[row, within_vocabulary(tokens, asked.vocab_size)] for row, tokens in enumerate(asked.banned))
        left = np.array([1 - np.exp(row - total).sum() for row, total in zip(of_banned, sums, strict=True)], np.float32)
    if (left < LEAST_SHARE_LEFT).any():
        return None
    allowed: Scores = sums + np.log(left)
    return allowed


def _best(scores: Scores, wanted: int) -> Candidates:
    """The `wanted` best of each row of (R,V), best first, the lower id first among equals."""
    if wanted == 1:
        ids = scores.argmax(axis=1)[:, None]
        return Candidates(np.take_along_axis(scores, ids, axis=1), ids, scores)
    ids = np.sort(np.argpartition(-scores, wanted - 1, axis=1)[:, :wanted], axis=1)
    found = np.take_along_axis(scores, ids, axis=1)
    order = np.argsort(-found, axis=1, kind="stable")
    return Candidates(np.take_along_axis(found, order, axis=1), np.take_along_axis(ids, order, axis=1), scores)
