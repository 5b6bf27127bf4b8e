"""Scores as probabilities, over the last axis. A row in which nothing is allowed gives NaN: no comparison with it holds."""

import numpy as np

from zen_edge.runtimes.decoding.step import Scores


def log_softmax(scores: Scores) -> Scores:
    with np.errstate(invalid="ignore"):
        shifted: Scores = scores - scores.max(axis=-1, keepdims=True)
        sums: Scores = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        return shifted - sums


def softmax(scores: Scores) -> Scores:
    probabilities: Scores = np.exp(log_softmax(scores))
    return probabilities


def entropy(scores: Scores) -> Scores:
    """(R,1) in nats."""
    log_probs = log_softmax(scores)
    with np.errstate(invalid="ignore"):
        each = np.where(log_probs == -np.inf, np.float32(0), np.exp(log_probs) * log_probs)
    result: Scores = -each.sum(axis=-1, keepdims=True)
    return result


def without(scores: Scores, removed: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], least_kept: int) -> Scores:
    """`scores` (R,K) with -inf where `removed`, except for the `least_kept` best of each row."""
    place = max(0, scores.shape[1] - least_kept)
    least = np.partition(scores, place, axis=1)[:, place : place + 1]
    return np.where(removed & (scores < least), np.float32(-np.inf), scores)
