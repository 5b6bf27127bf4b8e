"""Greedy search: the best token at every step, as transformers' `_sample` does it without sampling."""

from dataclasses import dataclass
from math import nan

import numpy as np

from zen_edge.runtimes.decoding.candidates import Candidates, Request, best_tokens, candidates, every_score, log_sum_allowed, log_sum_exp, request
from zen_edge.runtimes.decoding.options import GenerationOptions
from zen_edge.runtimes.decoding.sequence import EncoderIds, Search, Sequence_, greedy_sequence
from zen_edge.runtimes.decoding.step import LEAVE_SHARE, C, Ids, Scores, Step, StepScores


@dataclass(frozen=True)
class GreedyState:
    sequences: tuple[Sequence_ | None, ...]  # of each input, None until it has finished
    inputs: tuple[int, ...]  # the input that each row of ids belongs to
    ids: Ids  # (R,t)
    start_length: int
    log_probs: tuple[list[float], ...]  # of each input's tokens; later steps add to them
    keep_log_probs: bool

    def settled(self) -> list[list[int]]:
        """For each input all its tokens so far: greedy search takes nothing back."""
        tokens = [list(one.tokens) if one else [] for one in self.sequences]
        for row, each in enumerate(self.inputs):
            if self.sequences[each] is None:
                tokens[each] = self.ids[row, self.start_length :].tolist()
        return tokens

    def finished(self) -> list[list[Sequence_] | None]:
        return [[one] if one else None for one in self.sequences]

    def so_far(self) -> list[list[Sequence_]]:
        tokens = self.settled()
        return [[one or greedy_sequence(tokens[each], self.log_probs[each], self.keep_log_probs)] for each, one in enumerate(self.sequences)]


def greedy_search(
    step: Step[C],
    cache: C,
    start: Ids,
    options: GenerationOptions,
    *,
    vocab_size: int,
    scores: bool = True,
    encoder_ids: EncoderIds | None = None,
    token_log_probs: bool = False,
) -> Search:
    """Yields a state after each step and returns one sequence for each row of `start` (B,S). Without `scores` all scores are NaN."""
    start_length = start.shape[1]
    limit = options.length_limit(start_length)
    rules = options.active_rules(start_length, vocab_size, encoder_ids)
    ends = frozenset(options.eos_token_ids)
    sequences: list[Sequence_ | None] = [None] * len(start)  # of each input, None until it has finished
    log_probs: list[list[float]] = [[] for _ in start]  # of each input
    inputs = tuple(range(len(start)))  # the input of each row in the batch
    ids, new_ids = start, start
    keep: Ids | None = None
    while not all(sequences):
        asked = request(rules, ids, 1, vocab_size, inputs=inputs)
        step_scores, cache = step(new_ids, cache, top_k=asked.top_k, log_sum_exp=scores and asked.source == "top", beam_index=keep, input_index=keep)
        tokens, of_rows = chosen(asked, step_scores, scores)

        is_last = ids.shape[1] + 1 >= limit
        open_rows = [row for row, each in enumerate(inputs) if sequences[each] is None]
        fed = [options.filler_token_id] * len(inputs)
        for row in open_rows:
            fed[row] = tokens[row]
            log_probs[inputs[row]].append(of_rows[row])
        new_ids = np.array(fed, np.int64)[:, None]
        ids = np.concatenate((ids, new_ids), axis=1)
        still_open = [row for row in open_rows if not is_last and tokens[row] not in ends]
        for row in set(open_rows).difference(still_open):
            sequences[inputs[row]] = greedy_sequence(ids[row, start_length:].tolist(), log_probs[inputs[row]], token_log_probs)
        yield GreedyState(tuple(sequences), inputs, ids, start_length, tuple(log_probs), token_log_probs)

        keep = None
        if len(inputs) - len(still_open) >= LEAVE_SHARE * len(inputs):
            keep = np.array(still_open, np.int64)
            inputs = tuple(inputs[row] for row in still_open)
            ids, new_ids = ids[keep], new_ids[keep]
    return [[one] for one in sequences if one]


def chosen(asked: Request, step_scores: StepScores, scores: bool) -> tuple[list[int], list[float]]:
    """The best token of each row after the rules and, with `scores`, its log-probability; else NaN."""
    best = None if scores else best_tokens(asked, step_scores)
    if best is not None:
        return best, [nan] * len(best)
    found = candidates(asked, step_scores, log_probs=False)
    tokens = _best_tokens(found)
    return tokens, _log_probs(asked, step_scores, found).tolist() if scores else [nan] * len(tokens)


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
            sums = log_sum_exp(found.scores)  # all other scores are -inf
        elif sums is None:
            every = found.every_score if found.every_score is not None else every_score(asked, scores.logits(), log_probs=False)
            best, sums = every.max(axis=1), log_sum_exp(every)
        return np.where(best == -np.inf, best, best - sums)
