"""Decoding for encoder-decoder models: ids and scores only, giving the token ids that transformers' `generate` gives.

`search(step, cache, start, options, vocab_size=V)` is a generator: the state after each step, the sequences at the end
"""

from collections.abc import Callable

import numpy as np

from zen_edge.runtimes.decoding.beam import beam_search
from zen_edge.runtimes.decoding.draft import Verifier, draft_search
from zen_edge.runtimes.decoding.greedy import greedy_search
from zen_edge.runtimes.decoding.options import GenerationOptions
from zen_edge.runtimes.decoding.sample import sample_search
from zen_edge.runtimes.decoding.sequence import EncoderIds, Search, SearchState, Sequence_
from zen_edge.runtimes.decoding.step import C, Ids, Step, StepScores

__all__ = ["EncoderIds", "GenerationOptions", "Search", "SearchState", "Sequence_", "Step", "StepScores", "Verifier", "run", "search"]


def search(
    step: Step[C],
    cache: C,
    start: Ids,
    options: GenerationOptions,
    *,
    vocab_size: int,
    scores: bool = True,
    encoder_ids: EncoderIds | Ids | None = None,
    token_log_probs: bool = False,
    verifier: Verifier[C] | None = None,
) -> Search:
    """The search that `options` ask for, from the decoder's first ids `start` (B,S), S at least 1.

    Yields the state after each step and returns, for each input, its num_return_sequences sequences. Closing it stops the search.
    Without `scores` greedy search and sampling skip the scores of their sequences; beam search always knows them. With
    `token_log_probs` sequences carry the log-probability of each token. `encoder_ids`, where the inputs are made of ids, are those
    of each input, best without padding: rules that look at the input take padding for text, as in transformers, and a seeded draw
    depends on it. `verifier` is the same decoder for drafts, without which prompt_lookup_num_tokens changes nothing. Raises OptionError for options that do not fit the model or the start, ZenEdgeError when the model's scores are
    not numbers.
    """
    given: EncoderIds | None = encoder_ids.tolist() if isinstance(encoder_ids, np.ndarray) else encoder_ids
    if options.num_beams > 1:
        return beam_search(step, cache, start, options, vocab_size=vocab_size, encoder_ids=given, token_log_probs=token_log_probs)
    scores = scores or token_log_probs
    if verifier is not None and options.prompt_lookup_num_tokens is not None and len(start) == 1:
        return draft_search(verifier, cache, start, options, vocab_size=vocab_size, scores=scores, encoder_ids=given, token_log_probs=token_log_probs)
    one_by_one = sample_search if options.do_sample else greedy_search
    return one_by_one(step, cache, start, options, vocab_size=vocab_size, scores=scores, encoder_ids=given, token_log_probs=token_log_probs)


def run(search: Search, stop: Callable[[SearchState], bool] = lambda state: False) -> list[list[Sequence_]]:
    """Drains a search and gives what it returns. stop: asked after each step; where it says so, what there is so far."""
    while True:
        try:
            state = next(search)
        except StopIteration as end:
            found: list[list[Sequence_]] = end.value
            return found
        if stop(state):
            return state.so_far()
