"""Sampling: the next token drawn from what the rules left, as transformers' `_sample` does it; each input's sequences side by side."""

from dataclasses import dataclass
from math import nan

import numpy as np

from zen_edge.runtimes.decoding.candidates import candidates, request
from zen_edge.runtimes.decoding.options import GenerationOptions
from zen_edge.runtimes.decoding.probabilities import log_softmax
from zen_edge.runtimes.decoding.sampling import draw, generators
from zen_edge.runtimes.decoding.sequence import EncoderIds, Search, Sequence_, greedy_sequence
from zen_edge.runtimes.decoding.step import LEAVE_SHARE, C, Ids, Step


@dataclass(frozen=True)
class SampleState:
    sequences: tuple[Sequence_ | None, ...]  # of each input num_return_sequences in a row, None until finished
    inputs: tuple[int, ...]  # those in the batch
    ids: Ids  # (R,t): num_return_sequences rows each
    start_length: int
    num_return_sequences: int
    log_probs: tuple[list[float], ...]  # of each sequence's tokens; later steps add to them
    keep_log_probs: bool

    def settled(self) -> list[list[int]]:
        """For each input all tokens so far of its first sequence: nothing is taken back."""
        firsts = range(0, len(self.sequences), self.num_return_sequences)
        return [list(one.tokens) if (one := self.sequences[first]) else self._tokens(first) for first in firsts]

    def finished(self) -> list[list[Sequence_] | None]:
        count = self.num_return_sequences
        groups = [self.sequences[first : first + count] for first in range(0, len(self.sequences), count)]
        return [done if len(done := [one for one in group if one is not None]) == count else None for group in groups]

    def so_far(self) -> list[list[Sequence_]]:
        count = self.num_return_sequences
        found = [one or greedy_sequence(self._tokens(each), self.log_probs[each], self.keep_log_probs) for each, one in enumerate(self.sequences)]
        return [found[first : first + count] for first in range(0, len(found), count)]

    def _tokens(self, sequence: int) -> list[int]:
        """Of one that has not finished: its input is in the batch."""
        each, turn = divmod(sequence, self.num_return_sequences)
        row = self.inputs.index(each) * self.num_return_sequences + turn
        tokens: list[int] = self.ids[row, self.start_length :].tolist()
        return tokens


def sample_search(
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
    """Yields a state after each step and returns num_return_sequences sequences, in the order drawn, for each row of `start` (B,S)."""
    start_length, count = start.shape[1], options.num_return_sequences
    limit = options.length_limit(start_length)
    rules = options.active_rules(start_length, vocab_size, encoder_ids)
    ends = frozenset(options.eos_token_ids)
    draws = [one for of_input in generators(options.seed, len(start), count, encoder_ids) for one in of_input]
    sequences: list[Sequence_ | None] = [None] * len(draws)
    log_probs: list[list[float]] = [[] for _ in draws]
    inputs = tuple(range(len(start)))  # those in the batch
    rows = list(range(len(draws)))  # the sequence of each row, from the second step on
    ids, new_ids = start, start
    beam_index: Ids | None = None
    input_index: Ids | None = None
    while not all(sequences):
        asked = request(rules, ids, 1, vocab_size, inputs=inputs, sampled=True)
        step_scores, cache = step(new_ids, cache, top_k=asked.top_k, log_sum_exp=False, beam_index=beam_index, input_index=input_index)
        found = candidates(asked, step_scores, log_probs=False)
        copies = len(rows) // len(ids)  # at the first step one row stands for all sequences of its input
        if copies > 1:
            ids = ids.repeat(copies, axis=0)
        found_scores, found_ids = found.scores.repeat(copies, axis=0), found.ids.repeat(copies, axis=0)
        open_rows = [row for row, each in enumerate(rows) if sequences[each] is None]
        uniforms = np.zeros((len(rows), 1))
        uniforms[open_rows, 0] = [draws[rows[row]].random() for row in open_rows]
        places = draw(found_scores, found_ids, uniforms)
        drawn = np.take_along_axis(found_ids, places, axis=1)[:, 0]
        drawn = np.where(found_scores.max(axis=1) == -np.inf, 0, drawn)  # nothing is allowed: as in greedy search
        tokens = drawn.tolist()
        if scores:
            each_log_prob = np.take_along_axis(log_softmax(found_scores), places, axis=1)[:, 0]
            of_rows = np.where(np.isnan(each_log_prob), -np.inf, each_log_prob).tolist()
        else:
            of_rows = [nan] * len(tokens)

        is_last = ids.shape[1] + 1 >= limit
        fed = [options.filler_token_id] * len(rows)
        for row in open_rows:
            fed[row] = tokens[row]
            log_probs[rows[row]].append(of_rows[row])
        new_ids = np.array(fed, np.int64)[:, None]
        ids = np.concatenate((ids, new_ids), axis=1)
        for row in open_rows:
            if is_last or tokens[row] in ends:
                sequences[rows[row]] = greedy_sequence(ids[row, start_length:].tolist(), log_probs[rows[row]], token_log_probs)
        yield SampleState(tuple(sequences), inputs, ids, start_length, count, tuple(log_probs), token_log_probs)

        going_on = np.arange(len(rows)) // copies
        beam_index = going_on if copies > 1 else None
        input_index = None
        stay = [place for place, each in enumerate(inputs) if not all(sequences[each * count : (each + 1) * count])]
        if len(inputs) - len(stay) >= LEAVE_SHARE * len(inputs):
            input_index = np.array(stay, np.int64)
            kept = (input_index[:, None] * count + np.arange(count)).reshape(-1)
            beam_index, ids, new_ids = going_on[kept], ids[kept], new_ids[kept]
            rows = [rows[row] for row in kept.tolist()]
            inputs = tuple(inputs[place] for place in stay)
    done = [one for one in sequences if one is not None]
    return [done[first : first + count] for first in range(0, len(done), count)]
