"""Beam search, step for step as transformers' `_beam_search` does it: the same candidates, the same float32 additions in the same order."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_edge.runtimes.decoding.candidates import Candidates, Request, candidates, every_score, log_sum_allowed, log_sum_exp, request
from zen_edge.runtimes.decoding.options import GenerationOptions
from zen_edge.runtimes.decoding.sampling import draw, generators
from zen_edge.runtimes.decoding.sequence import EncoderIds, Search, Sequence_, common_prefix
from zen_edge.runtimes.decoding.step import LEAVE_SHARE, C, Ids, Scores, Step, StepScores

LOWEST = -1e9  # transformers' score of what must not win: a beam that is not there, or one that has just finished


@dataclass(frozen=True)
class BeamState:
    best: tuple[tuple[Sequence_, ...], ...]  # of each input, the finished ones, best first
    running: frozenset[int]  # the inputs whose search goes on
    inputs: tuple[int, ...]  # the inputs that ids hold, num_beams rows each
    ids: Ids  # (R,t)
    start_length: int
    options: GenerationOptions
    totals: Scores  # (A,num_beams) accumulated scores of the beams that go on
    log_probs: Scores | None  # (R,t) of each row's tokens, where they are asked for

    def settled(self) -> list[list[int]]:
        """For each input the beginning that every hypothesis shares, running or finished, that may still be returned."""
        hypotheses = [[list(one.tokens) for one in best[: self.options.num_return_sequences]] for best in self.best]
        beams = self.ids[:, self.start_length :].reshape(len(self.inputs), -1, self.ids.shape[1] - self.start_length).tolist()
        for each, rows in zip(self.inputs, beams, strict=True):
            if each in self.running:
                hypotheses[each] += rows
        return [common_prefix(rows) for rows in hypotheses]

    def finished(self) -> list[list[Sequence_] | None]:
        return [None if each in self.running else _returned(best, self.options.num_return_sequences) for each, best in enumerate(self.best)]

    def so_far(self) -> list[list[Sequence_]]:
        best, num_beams, length = list(self.best), self.totals.shape[1], self.ids.shape[1] - self.start_length
        scores = self.totals / length**self.options.length_penalty
        for place, rank in np.ndindex(self.totals.shape):
            each, row = self.inputs[place], place * num_beams + rank
            if each in self.running and self.ids[row, -1] not in self.options.eos_token_ids:  # what has ended fills a place that no beam has
                each_log_prob = None if self.log_probs is None else tuple(self.log_probs[row].tolist())
                one = Sequence_(tuple(self.ids[row, self.start_length :].tolist()), float(scores[place, rank]), each_log_prob)
                best[each] = _with(one, best[each], num_beams)
        return [_returned(one, self.options.num_return_sequences) for one in best]


def beam_search(
    step: Step[C],
    cache: C,
    start: Ids,
    options: GenerationOptions,
    *,
    vocab_size: int,
    encoder_ids: EncoderIds | None = None,
    token_log_probs: bool = False,
) -> Search:
    """Yields a state after each step and returns num_return_sequences sequences, best first, for each row of `start` (B,S).

    With do_sample the continuations of the beams are drawn, not taken for their scores; all else stays the same.
    """
    num_beams, start_length = options.num_beams, start.shape[1]
    limit = options.length_limit(start_length)
    rules = options.active_rules(start_length, vocab_size, encoder_ids)
    wanted = max(2, 1 + len(options.eos_token_ids)) * num_beams

    finished: list[tuple[Sequence_, ...]] = [()] * len(start)  # of each input, best first, at most num_beams
    inputs = list(range(len(start)))  # those in the batch; A is their number
    running = set(inputs)
    scores = np.full((len(start), num_beams), LOWEST, np.float32)
    scores[:, 0] = 0  # the first step sees one row for each input: all its candidates go on from the first beam
    ids, new_ids = start, start
    log_probs = np.zeros((len(start), 0), np.float32)  # of each row's tokens so far, where they are asked for
    draws = generators(options.seed, len(start), 1, encoder_ids) if options.do_sample else []
    beam_index: Ids | None = None
    input_index: Ids | None = None
    while running:
        asked = request(rules, ids, wanted, vocab_size, inputs=inputs, sampled=options.do_sample)
        step_scores, cache = step(
            new_ids, cache, top_k=asked.top_k, log_sum_exp=asked.source == "top", beam_index=beam_index, input_index=input_index
        )
        found = candidates(asked, step_scores, log_probs=True)
        uniforms = np.array([draws[each][0].random(wanted) for each in inputs]) if options.do_sample else None
        best, rows, tokens, picked = _continuations(found, scores, wanted, uniforms)  # (A,K) each
        if token_log_probs:
            own = found.scores[rows, picked % found.ids.shape[1]] - _log_sums(asked, step_scores, found)[rows]
        ends: NDArray[np.bool_] = np.full(tokens.shape, ids.shape[1] + 1 >= limit)
        for end in options.eos_token_ids:
            ends |= tokens == end
        some_end = bool(ends.any())

        # Only a sequence among the first num_beams candidates may finish; the others are there so that enough go on.
        final_scores = best[:, :num_beams] / (ids.shape[1] + 1 - start_length) ** options.length_penalty
        for place, rank in np.argwhere(ends[:, :num_beams]).tolist() if some_end else ():
            if inputs[place] in running:
                sequence = (*ids[rows[place, rank], start_length:].tolist(), int(tokens[place, rank]))
                each_log_prob = (*log_probs[rows[place, rank]].tolist(), float(own[place, rank])) if token_log_probs else None
                one = Sequence_(sequence, float(final_scores[place, rank]), each_log_prob)
                finished[inputs[place]] = _with(one, finished[inputs[place]], num_beams)

        at: tuple[Any, slice | Ids] = (slice(None), slice(num_beams))  # the candidates that go on: the first, unless some of them end
        chosen = best
        if some_end or uniforms is not None:
            chosen = best + np.where(ends, np.float32(LOWEST), np.float32(0))
            at = (np.arange(len(best))[:, None], np.argsort(-chosen, axis=1, kind="stable")[:, :num_beams])
        scores = chosen[at]
        going_on, new_ids = rows[at].reshape(-1), tokens[at].reshape(-1, 1)  # (A * num_beams,)
        rows_before = len(ids)
        ids = np.concatenate((ids[going_on], new_ids), axis=1)
        if token_log_probs:
            log_probs = np.concatenate((log_probs[going_on], own[at].reshape(-1, 1)), axis=1)

        hoped = _best_possible(scores, options, ids.shape[1] - start_length, limit - start_length)
        stuck = np.logical_and.reduce(ends, axis=1).tolist() if some_end else [False] * len(inputs)
        for place, each in enumerate(inputs):
            full = len(finished[each]) == num_beams
            worst = finished[each][-1].score if full else LOWEST
            if stuck[place] or not hoped[place] > worst or (full and options.early_stopping is True):
                running.discard(each)
        yield BeamState(
            tuple(finished),
            frozenset(running),
            tuple(inputs),
            ids,
            start_length,
            options,
            scores,
            log_probs if token_log_probs else None,
        )

        input_index = None
        if len(inputs) - len(running) >= LEAVE_SHARE * len(inputs):
            input_index = np.array([place for place, each in enumerate(inputs) if each in running], np.int64)
            stay = (input_index[:, None] * num_beams + np.arange(num_beams)).reshape(-1)
            going_on, ids, new_ids, scores = going_on[stay], ids[stay], new_ids[stay], scores[input_index]
            log_probs = log_probs[stay] if token_log_probs else log_probs
            inputs = [inputs[place] for place in input_index.tolist()]
        unmoved = len(going_on) == rows_before and going_on.tolist() == list(range(rows_before))
        beam_index = None if unmoved else going_on
    return [_returned(best_of, options.num_return_sequences) for best_of in finished]


def _continuations(found: Candidates, scores: Scores, wanted: int, uniforms: NDArray[np.float64] | None) -> tuple[Scores, Ids, Ids, Ids]:
    """The continuations of each input, best first, or in the order drawn: accumulated scores, rows of the step they go on from, tokens,
    and which of all candidates of the input these are; (A,K) each."""
    num_inputs, num_beams = scores.shape
    num_rows, width = found.ids.shape
    copies = num_inputs * num_beams // num_rows  # at the first step one row stands for all beams of its input
    log_probs, tokens = found.scores, found.ids
    if copies > 1:
        log_probs, tokens = log_probs.repeat(copies, axis=0), tokens.repeat(copies, axis=0)
    totals = (log_probs.reshape(num_inputs, num_beams, width) + scores[:, :, None]).reshape(num_inputs, -1)
    tokens = tokens.reshape(num_inputs, -1)
    if uniforms is None:
        order = np.argsort(-totals, axis=1, kind="stable")[:, :wanted]
    else:
        beams = np.arange(num_beams).repeat(width)
        order = draw(totals, tokens * num_beams + beams, uniforms[:, : totals.shape[1]])
    first = np.arange(num_inputs)[:, None]  # of each input
    rows = (first * num_beams + order // width) // copies
    return totals[first, order], rows, tokens[first, order], order


def _log_sums(asked: Request, scores: StepScores, found: Candidates) -> Scores:
    """(R,) the log-sum-exp of the processed scores: what they lack to be log-probabilities."""
    every = found.every_score
    if every is None and asked.source == "top" and not asked.warps:
        if asked.normalized or asked.banned is None:
            return np.zeros(len(found.scores), np.float32)
        sums = log_sum_allowed(asked, scores)
        if sums is not None:
            assert scores.log_sum_exp is not None
            return sums - scores.log_sum_exp
        every = every_score(asked, scores.logits(), log_probs=True)
    with np.errstate(invalid="ignore"):
        sums = log_sum_exp(found.scores if every is None else every)  # all that are not among the candidates are -inf
        return np.where(np.isnan(sums), np.float32(0), sums)


def _returned(best: tuple[Sequence_, ...], count: int) -> list[Sequence_]:
    """As in transformers, an empty sequence stands in where too few finished with a score of LOWEST or more."""
    return [*best[:count], *[Sequence_((), LOWEST)] * (count - len(best))]


def _with(one: Sequence_, finished: tuple[Sequence_, ...], num_beams: int) -> tuple[Sequence_, ...]:
    # At LOWEST itself it ties with an empty place: a copy of the only sequence that rules allow is worth more than none.
    if one.score < LOWEST:
        return finished
    return tuple(sorted((*finished, one), key=lambda each: -each.score)[:num_beams])


def _best_possible(scores: Scores, options: GenerationOptions, length: int, longest: int) -> list[float]:
    """What the best running beam of each input may still reach, as transformers estimates it."""
    hopeful = options.early_stopping == "never" and options.length_penalty > 0
    reached: list[float] = (scores[:, 0] / (longest if hopeful else length) ** options.length_penalty).tolist()
    return reached
