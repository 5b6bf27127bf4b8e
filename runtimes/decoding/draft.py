"""Greedy search that checks several tokens in one step: a draft of what may come next, looked up in the input and in the output so far.

Prompt lookup decoding (Saxena 2023, https://github.com/apoorvumang/prompt-lookup-decoding), with the encoder's ids searched too, because a summary
copies from its document. A step over a few positions costs little more than one over a single position, so every draft token that the model would
have chosen itself is a step saved; the tokens are those of plain greedy search, up to what rounding makes of a wider product.
"""

from collections.abc import Sequence
from math import nan
from typing import Protocol, TypeVar

import numpy as np

from zen_edge.runtimes.decoding.candidates import request
from zen_edge.runtimes.decoding.greedy import GreedyState, chosen
from zen_edge.runtimes.decoding.options import GenerationOptions
from zen_edge.runtimes.decoding.sequence import EncoderIds, Search, greedy_sequence
from zen_edge.runtimes.decoding.step import Ids, StepScores

C = TypeVar("C")
DEFAULT_NGRAM = 2  # transformers' own max_matching_ngram_size


class Verifier(Protocol[C]):
    """A decoder that scores every position it is given, and can take its last positions back."""

    def step_each(self, ids: Ids, cache: C, *, top_k: int, log_sum_exp: bool) -> tuple[list[StepScores], C]:
        """ids (1,S) -> the scores after each of them, of one row, and the cache with all S of them."""
        ...

    def cut(self, cache: C, length: int) -> C:
        """The cache as it was when it held `length` positions."""
        ...

    def positions_left(self, cache: C) -> float:
        """How many more positions the model has."""
        ...


class LookUp:
    """What followed the same few tokens before: in the output so far, the latest place first, else in the source, the first place first."""

    def __init__(self, source: Sequence[int], longest: int) -> None:
        """longest: how many tokens at most have to be the same; a longer match wins over a shorter one."""
        self._sizes = range(longest, 0, -1)
        self._source, self._output = list(source), list[int]()
        self._in_source: dict[tuple[int, ...], int] = {}  # some tokens -> the place after them
        self._in_output: dict[tuple[int, ...], int] = {}
        for size in self._sizes:
            for end in range(size, len(self._source)):
                self._in_source.setdefault(tuple(self._source[end - size : end]), end)

    def add(self, token: int) -> None:
        end = len(self._output)
        for size in self._sizes:
            if size <= end:
                self._in_output[tuple(self._output[end - size :])] = end
        self._output.append(token)

    def draft(self, count: int) -> list[int]:
        """At most `count` tokens that may come next; none where nothing matches."""
        for size in self._sizes:
            if count > 0 and size <= len(self._output):
                tail = tuple(self._output[-size:])
                for text, places in ((self._output, self._in_output), (self._source, self._in_source)):
                    if (place := places.get(tail)) is not None:
                        return text[place : place + count]
        return []


def draft_search(
    verifier: Verifier[C],
    cache: C,
    start: Ids,
    options: GenerationOptions,
    *,
    vocab_size: int,
    scores: bool = True,
    encoder_ids: EncoderIds | None = None,
    token_log_probs: bool = False,
) -> Search:
    """Yields a state after each step and returns one sequence for the only row of `start` (1,S)."""
    assert options.prompt_lookup_num_tokens is not None
    start_length = start.shape[1]
    limit = options.length_limit(start_length)
    rules = options.active_rules(start_length, vocab_size, encoder_ids)
    ends = frozenset(options.eos_token_ids)
    before = LookUp(encoder_ids[0] if encoder_ids else (), options.max_matching_ngram_size or DEFAULT_NGRAM)
    ids: list[int] = start[0].tolist()
    log_probs: list[float] = []
    fed = 0  # how many of ids the cache holds
    while True:
        room = min(limit - len(ids) - 1, verifier.positions_left(cache) - (len(ids) - fed))  # the token after the draft needs a place too
        draft = before.draft(int(min(options.prompt_lookup_num_tokens, room)))
        # The input's ids may be those of another vocabulary.
        draft = draft[: next((i for i, token in enumerate(draft) if token in ends or token >= vocab_size), len(draft))]
        guess = np.array([[*ids, *draft]], np.int64)
        asked = [request(rules, guess[:, : len(ids) + i], 1, vocab_size, inputs=(0,)) for i in range(len(draft) + 1)]
        each, cache = verifier.step_each(
            guess[:, fed:],
            cache,
            top_k=max(one.top_k for one in asked),
            log_sum_exp=scores and any(one.source == "top" for one in asked),
        )
        for one, step_scores, guessed in zip(asked, each[-len(asked) :], [*draft, None], strict=True):
            tokens, of_rows = chosen(one, step_scores, scores)
            ids.append(tokens[0])
            before.add(tokens[0])
            log_probs.append(of_rows[0] if scores else nan)
            if tokens[0] != guessed or len(ids) >= limit or tokens[0] in ends:
                break
        fed = len(ids) - 1  # the last token is not in the cache yet
        if fed < guess.shape[1]:
            cache = verifier.cut(cache, fed)
        over = len(ids) >= limit or ids[-1] in ends
        sequence = greedy_sequence(ids[start_length:], log_probs, token_log_probs) if over else None
        yield GreedyState((sequence,), (0,), np.array([ids], np.int64), start_length, (log_probs,), token_log_probs)
        if sequence is not None:
            return [[sequence]]
