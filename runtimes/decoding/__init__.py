"""Decoding for encoder-decoder models: ids and scores only, giving the token ids that transformers' `generate` gives.

`search(step, cache, start, options, vocab_size=V)` is a generator: the state after each step, the sequences at the end
"""

from collections.abc import Generator
from typing import Any, TypeVar

from zen_edge.runtimes.decoding.beam import beam_search
from zen_edge.runtimes.decoding.greedy import greedy_search
from zen_edge.runtimes.decoding.options import GenerationOptions
from zen_edge.runtimes.decoding.sequence import Search, SearchState, Sequence_
from zen_edge.runtimes.decoding.step import C, Ids, Step, StepScores

__all__ = ["GenerationOptions", "Search", "SearchState", "Sequence_", "Step", "StepScores", "run", "search"]

T = TypeVar("T")


def search(step: Step[C], cache: C, start: Ids, options: GenerationOptions, *, vocab_size: int, scores: bool = True) -> Search:
    """The search that `options` ask for, from the decoder's first ids `start` (B,S), S at least 1.

    Yields the state after each step and returns, for each input, its num_return_sequences sequences. Closing it stops the search.
    Without `scores` greedy search skips the scores of its sequences; beam search always knows them. Raises OptionError for
    options that do not fit the model or the start, ZenEdgeError when the model's scores are not numbers.
    """
    if options.num_beams == 1:
        return greedy_search(step, cache, start, options, vocab_size=vocab_size, scores=scores)
    return beam_search(step, cache, start, options, vocab_size=vocab_size)


def run(search: Generator[Any, None, T]) -> T:
    """Drains a search and gives what it returns."""
    while True:
        try:
            next(search)
        except StopIteration as end:
            value: T = end.value
            return value
