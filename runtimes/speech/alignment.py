"""When each token is said: the cross-attention of a few heads follows the audio, and the best path through it gives the times (transformers'
`_extract_token_timestamps`; dynamic time warping after Giorgino 2009, "Computing and Visualizing Dynamic Time Warping Alignments in R")."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zen_edge.runtimes.speech.segments import TIME_PRECISION

Array = NDArray[np.float32]


def attention(query: Array, keys: Array, head: int) -> Array:
    """query (S,D) with the scale in it, keys (N,T,H) -> (S,T), the weights of one head."""
    head_size = keys.shape[-1]
    scores = query[:, head * head_size : (head + 1) * head_size] @ keys[head].T
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    weights: Array = scores / scores.sum(axis=-1, keepdims=True)
    return weights


def median_filter(rows: Array, width: int) -> Array:
    """(S,T) -> the same shape: the median of `width` neighbours along the last axis, mirrored at the ends."""
    beside = width // 2
    if rows.shape[-1] <= beside:
        return rows
    padded = np.pad(rows, ((0, 0), (beside, beside)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=-1)
    median: Array = np.partition(windows, beside, axis=-1)[..., beside]
    return median


def token_times(weights: Sequence[Array], width: int) -> list[float]:
    """weights: of each head (S,T), how tokens attend to frames of `TIME_PRECISION` seconds -> the second at which each of S tokens ends."""
    if not len(weights[0]):
        return []
    smooth = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for one in weights:
            smooth.append(median_filter((one - one.mean(axis=0)) / one.std(axis=0), width))
        followed: Array = np.stack(smooth).mean(axis=0)
        tokens, frames = warp(-followed.astype(np.float64))
    first = np.diff(tokens, prepend=-1) > 0
    return [float(frame) * TIME_PRECISION for frame in frames[first]]


def warp(cost: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """cost (S,T) -> the cheapest path from its first to its last place, as rows and columns.

    Each diagonal is computed at once from the two before it. Sums are kept in float32, and ties go as in transformers: along the row.
    """
    S, T = cost.shape
    total = np.full((S + 1, T + 1), np.inf, np.float32)
    step = np.full((S + 1, T + 1), 2, np.int8)
    step[:, 0], step[0, :] = 1, 2
    total[0, 0] = 0
    for diagonal in range(2, S + T + 1):
        rows = np.arange(max(1, diagonal - T), min(S, diagonal - 1) + 1)
        columns = diagonal - rows
        both, down, along = total[rows - 1, columns - 1], total[rows - 1, columns], total[rows, columns - 1]
        move = np.where((both < down) & (both < along), 0, np.where((down < both) & (down < along), 1, 2))
        total[rows, columns] = cost[rows - 1, columns - 1] + np.choose(move, (both, down, along))
        step[rows, columns] = move
    path = []
    row, column = S, T
    while row > 0 or column > 0:
        path.append((row - 1, column - 1))
        move = step[row, column]
        row, column = row - (move != 2), column - (move != 1)
    found = np.array(path[::-1], np.int64)
    return found[:, 0], found[:, 1]
