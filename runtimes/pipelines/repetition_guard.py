"""`repetition_guard=True`: an output that goes round in circles is decoded again, without any run of tokens twice.

Measured on looping outputs of the shipped translator (docs/long-text.md): a `no_repeat_ngram_size` of 6 made them better in greedy and in beam search, smaller ones cut beams
short, `repetition_penalty` made them worse.
"""

from __future__ import annotations

from zen_edge.errors import InputError
from zen_edge.runtimes.decoding import GenerationOptions
from zen_edge.runtimes.pipelines.hypothesis import Hypothesis
from zen_edge.runtimes.text.repetition import guard_size, is_degenerate


def needed_guard(source: str, ids: list[int], start_length: int, answer: list[Hypothesis] | InputError, generation: GenerationOptions) -> int:
    """The no_repeat_ngram_size to decode again with; 0 for an answer to keep. The best result decides. An error is an output without an end."""
    size = guard_size(ids, source)
    if 0 < generation.as_dict()["no_repeat_ngram_size"] <= size:
        return 0
    if isinstance(answer, InputError):
        return size
    best = answer[0]
    cut_off = len(best.tokens) + 1 >= generation.length_limit(start_length)
    return size if is_degenerate(best.tokens[start_length - 1 :], best.text, ids, source, cut_off=cut_off) else 0


def guarded(generation: GenerationOptions, size: int) -> GenerationOptions:
    return GenerationOptions.from_defaults({}, **{**generation.as_dict(), "no_repeat_ngram_size": size})
