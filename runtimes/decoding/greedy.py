"""Greedy search: the best token at every step, as transformers' `_sample` does it without sampling."""

from dataclasses import dataclass
from math import nan

import numpy as np

from zen_edge.runtimes.decoding.candidates import Candidates, Request, candidates, every_score, log_sum_allowed, request
from zen_edge.runtimes.decoding.options import GenerationOptions
from zen_edge.runtimes.decoding.sequence import Search, Sequence_
from zen_edge.runtimes.decoding.step import LEAVE_SHARE, C, Ids, Scores, Step, StepScores


@dataclass(frozen=True)
class GreedyState:
    outputs: tuple[tuple[int, ...], ...]  # of each input, empty until it has finished
    totals: tuple[float, ...]  # of each input, the log-probabilities of its tokens so far
    inputs: tuple[int, ...]  # the input that each row of ids belongs to
    ids: Ids  # (R,t)
    start_length: int

    def settled(self) -> list[list[int]]:
        """For each input all its tokens so far: greedy search takes nothing back."""
        tokens = [list(output) for output in self.outputs]
        for row, each in enumerate(self.inputs):
            if not self.outputs[each]:
                tokens[each] = self.ids[row, self.start_length :].tolist()
        return tokens

    def finished(self) -> list[list[Sequence_] | None]:
        return [[Sequence_(output, total / len(output))] if output else None for output, total in zip(self.outputs, self.totals, strict=True)]


def greedy_search(step: Step[C], cache: C, start: Ids, options: GenerationOptions, *, vocab_size: int, scores: bool = True) -> Search:
    """Yields a state after each step and returns one sequence for each row of `start` (B,S). Without `scores` all scores are NaN."""
    start_length = start.shape[1]
    limit = options.length_limit(start_length)
    rules = options.active_rules(start_length, vocab_size)
    ends = frozenset(options.eos_token_ids)
    outputs: list[tuple[int, ...]] = [()] * len(start)  # of each input, empty until it has finished
    totals = [0.0] * len(start)
    inputs = tuple(range(len(start)))  # the input of each row in the batch
    ids, new_ids = start, start
    keep: Ids | None = None
    while not all(outputs):
        asked = request(rules, ids, 1, vocab_size)
        step_scores, cache = step(new_ids, cache, top_k=asked.top_k, log_sum_exp=scores and asked.source == "top", beam_index=keep, input_index=keep)
        found = candidates(asked, step_scores, log_probs=False)
        tokens = _best_tokens(found)
        log_probs = _log_probs(asked, step_scores, found).tolist() if scores else [nan] * len(tokens)

        is_last = ids.shape[1] + 1 >= limit
        open_rows = [row for row, each in enumerate(inputs) if not outputs[each]]
        fed = [options.filler_token_id] * len(inputs)
        for row in open_rows:
            fed[row] = tokens[row]
            totals[inputs[row]] += log_probs[row]
        new_ids = np.array(fed, np.int64)[:, None]
        ids = np.concatenate((ids, new_ids), axis=1)
        still_open = [row for row in open_rows if not is_last and tokens[row] not in ends]
        for row in set(open_rows).difference(still_open):
            outputs[inputs[row]] = tuple(ids[row, start_length:].tolist())
        yield GreedyState(tuple(outputs), tuple(totals), inputs, ids, start_length)

        keep = None
        if len(inputs) - len(still_open) >= LEAVE_SHARE * len(inputs):
            keep = np.array(still_open, np.int64)
            inputs = tuple(inputs[row] for row in still_open)
            ids, new_ids = ids[keep], new_ids[keep]
    return [[Sequence_(output, total / len(output))] for output, total in zip(outputs, totals, strict=True)]


def _best_tokens(found: Candidates) -> list[int]:
    if found.scores.shape[1] == 1:
        best = found.scores[:, 0]
        tokens = found.ids[:, 0]
    else:
        rows, places = np.arange(len(found.ids)), found.scores.argmax(axis=1)
        best, tokens = found.scores[rows, places], found.ids[rows, places]
    # Nothing is allowed: every score is equal, and the first id wins as in torch.argmax.
    return np.where(best == -np.inf, 0, tokens).tolist()  # type: ignore[no-any-return] # tolist is untyped


def _log_probs(asked: Request, scores: StepScores, found: Candidates) -> Scores:
    """(R,) the log-softmax of the processed scores at the best token; -inf where nothing is allowed."""
    with np.errstate(invalid="ignore", divide="ignore"):
        best: Scores = found.scores.max(axis=1)
        sums = log_sum_allowed(asked, scores) if asked.source == "top" else None
        if sums is None and asked.source == "forced":
            sums = _log_sum_exp(found.scores)  # all other scores are -inf
        elif sums is None:
            every = found.every_score if found.every_score is not None else every_score(asked, scores.logits(), log_probs=False)
            best, sums = every.max(axis=1), _log_sum_exp(every)
        return np.where(best == -np.inf, best, best - sums)


def _log_sum_exp(scores: Scores) -> Scores:
    best = scores.max(axis=1)
    sums: Scores = best + np.log(np.exp(scores - best[:, None]).sum(axis=1))
    return sums
