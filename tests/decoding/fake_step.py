"""A `Step` over hand-made score tables, and a record of what it was asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zen_edge.runtimes.decoding import StepScores

Sequences = tuple[tuple[int, ...], ...]


@dataclass
class FakeStep:
    """scores: from the input and all decoder ids so far to V raw scores. The cache is what the rows hold: (inputs, sequences)."""

    scores: Callable[[int, tuple[int, ...]], Sequence[float]]
    calls: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, ids, cache, *, top_k, log_sum_exp, beam_index, input_index):
        inputs, rows = cache
        if input_index is not None:
            inputs = tuple(inputs[each] for each in input_index)
        if beam_index is not None:
            rows = tuple(rows[row] for row in beam_index)
        assert len(rows) == len(ids)
        assert len(ids) % len(inputs) == 0
        rows = tuple((*row, *new) for row, new in zip(rows, ids.tolist(), strict=True))
        per_input = len(rows) // len(inputs)
        logits = np.array([self.scores(inputs[at // per_input], row) for at, row in enumerate(rows)], np.float32)
        call = {"rows": rows, "inputs": inputs, "top_k": top_k, "log_sum_exp": log_sum_exp, "beam_index": beam_index, "read_all": False}
        self.calls.append(call)

        def every_score():
            call["read_all"] = True
            return logits

        order = np.argsort(-logits, axis=1, kind="stable")[:, :top_k]
        with np.errstate(all="ignore"):
            best = logits.max(axis=1)
            sums = best + np.log(np.exp(logits - best[:, None]).sum(axis=1))
        return StepScores(np.take_along_axis(logits, order, axis=1), order, sums if log_sum_exp else None, every_score), (inputs, rows)


def begin(count: int):
    """The cache before the first step of `count` inputs."""
    return tuple(range(count)), ((),) * count
