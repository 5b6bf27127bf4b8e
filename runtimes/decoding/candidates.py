"""The best next tokens of each row, after the rules: from the step's top candidates where that is exact, else from every score."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from math import inf, isfinite
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zen_edge.errors import ZenEdgeError
from zen_edge.runtimes.decoding.probabilities import log_softmax
from zen_edge.runtimes.decoding.rule import Ban, ByInput, Effect, Force, Normalize, Rescore, Rule, Scale, TopK, Warp, within_vocabulary
from zen_edge.runtimes.decoding.step import Ids, Scores, StepScores

# A banned token outside the step's candidates may be left out of the sum of probabilities up to this share: below float32's precision.
NEGLIGIBLE_SHARE = 1e-7
# Of the probability that must be left after the bans for the difference of two sums to keep enough digits.
LEAST_SHARE_LEFT = 0.5
MOST_BANS = 256  # of a row; beyond, asking the step for so many more candidates costs more than reading every score


@dataclass(frozen=True)
class Request:
    """What a search asks of the next step, known from the ids so far."""

    wanted: int  # candidates a row, at least
    vocab_size: int
    effects: tuple[Effect, ...]  # what the rules will do, from the last forcing one on: it wipes out what came before
    source: Literal["top", "forced", "all"]
    banned: Sequence[frozenset[int]] | None  # of each row, unless source is "all"
    top_k: int  # to ask the step for
    sampled: bool = False  # every token that may come next is a candidate, not only the best
    warps: tuple[Effect, ...] = ()  # the last of the effects, from the first that belongs to sampling on

    @property
    def normalized(self) -> bool:
        """Whether the scores are shared out among the tokens that the bans left."""
        return bool(self.effects) and not self.warps and isinstance(self.effects[-1], Normalize)


@dataclass(frozen=True)
class Candidates:
    """Tokens and processed scores (R,K); banned tokens may be among them, with score -inf."""

    scores: Scores
    ids: Ids
    every_score: Scores | None = None  # (R,V) processed, where they had to be read


def request(rules: Sequence[Rule | ByInput], ids: Ids, wanted: int, vocab_size: int, *, inputs: Sequence[int] = (), sampled: bool = False) -> Request:
    """What to ask the step for, so that `wanted` candidates a row are left after `rules`, given all ids so far (R,t) of `inputs`.

    With `sampled` the candidates are every token that the rules leave.
    """
    effects: tuple[Effect, ...] = ()
    for rule in rules:
        effect = rule.rule(ids, inputs) if isinstance(rule, ByInput) else rule(ids)
        if isinstance(effect, Force):
            effects = (effect,)
        elif effect is not None:
            effects = (*effects, effect)
    wanted = min(wanted, vocab_size)
    if not effects and not sampled:
        return Request(wanted, vocab_size, effects, "top", None, wanted)
    bans = [effect.rows for effect in effects if isinstance(effect, Ban)]
    if len(bans) == len(effects) == 1 and not sampled and (most := max(map(len, bans[0]))) <= MOST_BANS:  # the commonest case, without the rest
        return Request(wanted, vocab_size, effects, "top", bans[0], min(wanted + most, vocab_size))
    banned = None if not bans else bans[0] if len(bans) == 1 else [frozenset().union(*rows) for rows in zip(*bans, strict=True)]
    most = max(map(len, banned)) if banned else 0
    warps = _warps(effects)
    if any(isinstance(effect, Rescore) for effect in effects) or most > MOST_BANS or _unfit(warps, sampled):
        return Request(wanted, vocab_size, effects, "all", None, 1, sampled, warps)
    if effects and isinstance(effects[0], Force):
        return Request(wanted, vocab_size, effects, "forced", banned, 1, sampled, warps)
    if sampled:
        wanted = max(wanted, _enough(warps, vocab_size))
        if wanted >= vocab_size:
            return Request(wanted, vocab_size, effects, "all", None, 1, sampled, warps)
    return Request(wanted, vocab_size, effects, "top", banned, min(wanted + most, vocab_size), sampled, warps)


def _warps(effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
    first = next((place for place, effect in enumerate(effects) if isinstance(effect, (Scale, TopK, Warp))), len(effects))
    return effects[first:]


def _unfit(warps: tuple[Effect, ...], sampled: bool) -> bool:
    """Whether the order of effects is one that only every score can follow: a ban after a filter, or filters in a search for the best."""
    return bool(warps) and (not sampled or any(isinstance(effect, Ban) for effect in warps))


def _enough(warps: tuple[Effect, ...], vocab_size: int) -> int:
    """How many candidates hold all that sampling may choose from: one more than TopK leaves, to see that nothing equals its last."""
    first = next((effect for effect in warps if not isinstance(effect, Scale)), None)
    return first.k + 1 if isinstance(first, TopK) else vocab_size


def best_tokens(asked: Request, scores: StepScores) -> list[int] | None:
    """The token with the best score of each row after the rules, read off the step's candidates; None where that takes arithmetic.

    What greedy search needs when nobody asks for its scores, for a tenth of what `candidates` costs. Raises ZenEdgeError as that does.
    """
    if asked.source != "top" or asked.warps or asked.normalized:
        return None
    tops, ids = scores.top_scores.tolist(), scores.top_ids.tolist()
    if not all(isfinite(sum(row)) for row in tops):
        _check(scores.top_scores, None)
    if asked.banned is None:
        return [row[0] for row in ids]
    places = (next((i for i, token in enumerate(row) if token not in banned), -1) for row, banned in zip(ids, asked.banned, strict=True))
    # Nothing is allowed: every score is equal, and the first id wins as in torch.argmax.
    return [0 if place < 0 or top[place] == -inf else row[place] for place, row, top in zip(places, ids, tops, strict=True)]


def candidates(asked: Request, scores: StepScores, *, log_probs: bool) -> Candidates:
    """The candidates that were asked for. With `log_probs` the rules work on the log-softmax, as in beam search, else on the logits.

    Raises ZenEdgeError when the scores of a row are not numbers, or none of them is finite.
    """
    if asked.source == "forced":
        return _forced(asked, rows=len(scores.top_scores))
    if asked.source == "all":
        logits = scores.logits().astype(np.float32, copy=False)
        _check(logits, None)
        return _chosen(asked, every_score(asked, logits, log_probs=log_probs))
    _check(scores.top_scores, scores.log_sum_exp)
    return _top(asked, scores, log_probs)


def every_score(asked: Request, logits: Scores, *, log_probs: bool) -> Scores:
    """Every score (R,V) after the rules."""
    scores = log_softmax(logits) if log_probs else logits
    for effect in asked.effects:
        scores = effect.apply(scores)
    return scores


def _check(candidates: Scores, log_sum_exp: Scores | None) -> None:
    if isfinite(candidates.sum()) and (log_sum_exp is None or isfinite(log_sum_exp.sum())):
        return  # the common case at once: no infinity among them either
    sound: NDArray[np.bool_] = np.isfinite(candidates.max(axis=1))
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
            return _chosen(asked, every_score(asked, scores.logits(), log_probs=True))
        found = found - sums[:, None]
    least = found[:, -1:]  # no other token has more
    if asked.banned is not None:
        mask = [[token in row for token in tokens] for tokens, row in zip(scores.top_ids.tolist(), asked.banned, strict=True)]
        found = np.where(mask, np.float32(-np.inf), found)
    for effect in asked.warps:
        if isinstance(effect, Scale):
            least = effect.apply(least)
        elif isinstance(effect, TopK) and found.shape[1] < asked.vocab_size and (effect.least(found) <= least).any():
            return _chosen(asked, every_score(asked, scores.logits().astype(np.float32, copy=False), log_probs=log_probs))
        found = effect.apply(found)
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
    for effect in asked.warps:
        found = effect.apply(found)
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


def log_sum_exp(scores: Scores) -> Scores:
    """(R,) of (R,K)."""
    best = scores.max(axis=1)
    sums: Scores = best + np.log(np.exp(scores - best[:, None]).sum(axis=1))
    return sums


def _chosen(asked: Request, scores: Scores) -> Candidates:
    """Every token for sampling; else the best of each row of (R,V), best first, the lower id first among equals."""
    wanted = asked.wanted
    if asked.sampled:
        return Candidates(scores, np.broadcast_to(np.arange(scores.shape[1]), scores.shape), scores)
    if wanted == 1:
        ids = scores.argmax(axis=1)[:, None]
        return Candidates(np.take_along_axis(scores, ids, axis=1), ids, scores)
    ids = np.sort(np.argpartition(-scores, wanted - 1, axis=1)[:, :wanted], axis=1)
    found = np.take_along_axis(scores, ids, axis=1)
    order = np.argsort(-found, axis=1, kind="stable")
    return Candidates(np.take_along_axis(found, order, axis=1), np.take_along_axis(ids, order, axis=1), scores)
