"""The interface between a search and a model: one decoder step in, the best candidates out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Scores = NDArray[np.float32]
C = TypeVar("C")

# Share of the inputs that must have finished before they leave the batch: taking rows out copies the cache of those that stay.
LEAVE_SHARE = 0.25


@dataclass(frozen=True)
class StepScores:
    """What one decoder step says of its R rows (last position only)."""

    top_scores: Scores  # (R,K) raw logits, descending
    top_ids: Ids  # (R,K)
    log_sum_exp: Scores | None  # (R,) of the raw logits
    logits: Callable[[], Scores]  # (R,V), every raw score; dear, called only when a rule needs it


class Step(Protocol[C]):
    """A decoder with its cache as a value: a new one comes back, and the cache given stays as it is, or, with a beam_index, is used up.

    R is a multiple of the number of inputs B that are left, and the rows of one input are contiguous. The number of rows per
    input may change from one step to the next (1 at the first step, then num_beams).
    """

    def __call__(
        self,
        ids: Ids,  # (R,S): S is the length of the decoder's start at the first step, then 1
        cache: C,
        *,
        top_k: int,  # K, at most V
        log_sum_exp: bool,
        beam_index: Ids | None,  # (R,) the row of the previous step that each row goes on from; None: rows unchanged
        input_index: Ids | None,  # (B,) the inputs of the previous step that stay; None: all
    ) -> tuple[StepScores, C]: ...
