"""Outputs of frames as tokens: the same one in a row is said once, and the blank is not said."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol, TypeVar

Item = TypeVar("Item", bound=Hashable)


@dataclass(frozen=True)
class Span:
    """start, end: frames. text: of a word."""

    text: str
    start: int
    end: int


class FrameTokenizer(Protocol):
    """What a CTC pipeline needs of a tokenizer. Safe to share between threads."""

    @property
    def blank_id(self) -> int: ...

    def told(self, ids: Iterable[int]) -> tuple[str, list[Span]]:
        """The id of every frame -> their text, and its words."""


def runs(frames: Iterable[Item], blank: Item) -> list[tuple[Item, int, int]]:
    """(item, start, end) of every run of the same item; the blank's are left out."""
    found, start = [], 0
    for item, run in groupby(frames):
        end = start + sum(1 for _ in run)
        if item != blank:
            found.append((item, start, end))
        start = end
    return found
