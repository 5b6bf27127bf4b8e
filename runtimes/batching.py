"""Inputs of mixed length in batches of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from zen_edge.runtimes.decoding.step import Ids

BATCH_TOKENS = 4096  # padded source tokens; more gains nothing on a CPU and costs memory
BATCH_ROWS = 128  # rows that decode side by side


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
