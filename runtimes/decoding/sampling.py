"""Drawing tokens: the same for the same input, options and seed, whatever else is in the batch and however candidates were found."""

from collections.abc import Sequence
from secrets import randbits

import numpy as np
from numpy.random import Generator, Philox, SeedSequence
from numpy.typing import NDArray

from zen_edge.runtimes.decoding.step import Ids, Scores

NEVER = -1e30  # stands for -inf among what is left, so that -inf can mark what has been drawn


def generators(seed: int | None, inputs: int, sequences: int, encoder_ids: Sequence[Sequence[int]] | None) -> list[list[Generator]]:
    """For each input one generator for each of its sequences.

    With a seed they follow from it and from the input's own ids; where those are not known, from its place. Without a seed every call differs.
    """
    entropy = randbits(128) if seed is None else seed
    of_input: Sequence[Sequence[int]] = encoder_ids if encoder_ids is not None and seed is not None else [[place] for place in range(inputs)]
    return [[Generator(Philox(SeedSequence([entropy, *ids], spawn_key=(sequence,)))) for sequence in range(sequences)] for ids in of_input]


def draw(scores: Scores, ids: Ids, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
    """(R,n) the places in `scores` (R,K) of n different candidates of each row, drawn one after the other with the probability that
    softmax gives them among those left, by `uniforms` (R,n) from [0,1).

    It goes through the candidates by their `ids` (R,K), so that their order does not matter, nor does a candidate with score -inf.
    """
    order = np.argsort(ids, axis=1, kind="stable")
    left = np.maximum(np.take_along_axis(scores, order, axis=1).astype(np.float64), NEVER)
    rows = np.arange(len(scores))
    drawn = np.empty(uniforms.shape, np.int64)
    for turn in range(uniforms.shape[1]):
        mass = np.exp(left - left.max(axis=1, keepdims=True)).cumsum(axis=1)
        total = mass[:, -1:]
        aim = np.minimum(uniforms[:, turn : turn + 1] * total, np.nextafter(total, 0))
        place = (mass > aim).argmax(axis=1)
        drawn[:, turn] = order[rows, place]
        left[rows, place] = -np.inf
    return drawn
