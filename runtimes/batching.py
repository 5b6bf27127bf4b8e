"""Inputs of mixed length in batches of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from zen_edge.runtimes.decoding.step import Ids

BATCH_TOKENS = 4096  # padded source tokens; more gains nothing on a CPU and costs memory
BATCH_ROWS = 128  # rows that decode side by side
CALL_TOKENS = 48  # padded source tokens that cost a CPU as much as a call of their own
LEAST_GAIN = 0.1  # of all tokens; for less the outputs are not put together again
PART_TOKENS = 512  # padded source tokens of a part: what lies between an encoder's operators stays in the cache


def batches(lengths: Sequence[int], num_beams: int, batch_tokens: int = BATCH_TOKENS) -> Iterator[list[int]]:
    """Positions of the inputs, shortest first, cut so that padded length times inputs stays within the budget, and beams times inputs within
    BATCH_ROWS. Every position comes once. (Beams share what the encoder made of their input, and so do not count as tokens.)"""
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        rows = (len(batch) + 1) * num_beams
        if batch and ((len(batch) + 1) * lengths[position] > batch_tokens or rows > BATCH_ROWS):
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch


def close_lengths(lengths: Sequence[int], threads: int) -> list[list[int]]:
    """Positions of inputs that an encoder with so many threads could take side by side, shortest first, in the parts that cost it least: padding costs as much
    as words do, and each call CALL_TOKENS of them. One part where others gain little; but one thread takes more than twice PART_TOKENS in parts of so many, or of one input."""
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    sizes = np.array([lengths[i] for i in order])
    whole = max(lengths, default=0) * len(lengths)
    limit = PART_TOKENS if threads == 1 and whole > 2 * PART_TOKENS else np.inf
    least, first = (
        np.zeros(len(order) + 1),
        np.zeros(len(order) + 1, np.int64),
    )  # of the shortest so many: what they cost, where their last part begins
    for end in range(1, len(order) + 1):
        rows = np.arange(end, 0, -1)
        costs = least[:end] + rows * sizes[end - 1] + CALL_TOKENS
        costs[(rows > 1) & (rows * sizes[end - 1] > limit)] = np.inf
        first[end] = np.argmin(costs)
        least[end] = costs[first[end]]
    if least[-1] > (1 - LEAST_GAIN) * (whole + CALL_TOKENS) and limit == np.inf:
        return [order] if order else []
    parts, end = [], len(order)
    while end:
        parts.append(order[first[end] : end])
        end = int(first[end])
    return parts[::-1]


def pad_features(rows: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """rows: (S,) or (S,n) each -> (B,S) or (B,S,n), filled up with zeros, and the mask (B,S)."""
    longest = max(map(len, rows))
    batch = np.zeros((len(rows), longest, *rows[0].shape[1:]), np.float32)
    mask = np.zeros((len(rows), longest), np.int64)
    for i, row in enumerate(rows):
        batch[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return batch, mask


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Ids, NDArray[np.int64]]:
    """Token ids and their mask, (B,T) each: 1 for a token, 0 for padding."""
    longest = max(map(len, rows))
    ids = np.full((len(rows), longest), pad_id, np.int64)
    mask = np.zeros((len(rows), longest), np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return ids, mask
