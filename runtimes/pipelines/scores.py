"""Scores as probabilities, in the arithmetic of transformers' pipelines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def softmax(scores: Floats) -> Floats:
    """Over the last axis."""
    raised: Floats = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def sigmoid(scores: Floats) -> Floats:
    with np.errstate(over="ignore"):  # 1 / (1 + inf) is the 0 that is meant
        return np.asarray(1.0 / (1.0 + np.exp(-scores)))
