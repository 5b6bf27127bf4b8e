"""A window's tokens cut into segments at the times among them, and how far the next window moves on (transformers' `_retrieve_segment`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TIME_PRECISION = 0.02  # seconds between one token that tells a time and the next
FRAME = 0.01  # seconds between features
FRAMES = 2  # features between those times


@dataclass(frozen=True)
class Span:
    """Tokens first..last of a window, last left out; start and end in seconds from its beginning."""

    start: float
    end: float
    first: int
    last: int


def spans(tokens: Sequence[int], first_time: int, frames: int) -> tuple[list[Span], int]:
    """tokens: of one window, without the end token. first_time: the token that tells 0.0. frames: that the window holds.

    Returns the segments, and how many frames the next window begins later: after an unfinished segment at its beginning, else at the window's end.
    """
    is_time = [token >= first_time for token in tokens]
    ends = [place + 1 for place in range(len(tokens) - 1) if is_time[place] and is_time[place + 1]]
    alone = is_time[-2:] == [False, True]  # nothing is said after the last time
    if not ends:
        last = next((token for token in reversed(tokens) if token >= first_time), first_time) - first_time
        last = last or int(np.float32(frames) * np.float32(FRAME) / np.float32(TIME_PRECISION))  # in float32, where transformers rounds
        return [Span(0.0, last * TIME_PRECISION, 0, len(tokens))], frames
    if alone:
        ends.append(len(tokens))
    else:
        ends[-1] += 1  # the time that the next window begins with
    found, first = [], 0
    for place, last in enumerate(ends):
        closing = tokens[last - (1 if alone or place < len(ends) - 1 else 2)]
        found.append(Span((tokens[first] - first_time) * TIME_PRECISION, (closing - first_time) * TIME_PRECISION, first, last))
        first = last
    if alone:
        return found, frames
    moved = (tokens[first - 2] - first_time) * FRAMES
    return found, moved if moved > 0 else frames  # a window that ends where it begins would come again and again


def unfinished(tokens: Sequence[int], found: Sequence[Span], first_time: int, sound: int) -> list[Span]:
    """What `spans` leaves to the next window, where there is none. sound: frames of the window that are no padding."""
    first = found[-1].last
    if first == len(tokens):
        return []
    start = (tokens[first - 1] - first_time) * TIME_PRECISION
    return [Span(start, max(start, sound * FRAME), first, len(tokens))]
