"""Long sound in overlapping chunks, of which the middle is kept: as transformers' speech recognition pipeline cuts for CTC models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zen_edge.errors import OptionError

Sound = NDArray[np.float32]


@dataclass(frozen=True)
class Chunk:
    """left, right: samples at either end that the neighbours answer for. last: nothing comes after it."""

    audio: Sound
    left: int
    right: int
    last: bool

    def kept(self, frames: int, step: int) -> slice:
        """Which of its frames; `step` samples each."""
        total = round(len(self.audio) / step)
        left, right = (round(side / len(self.audio) * total) for side in (self.left, self.right))
        return slice(left, total - right if right else frames)


@dataclass(frozen=True)
class Cutting:
    """Samples, multiples of a frame's."""

    length: int
    left: int
    right: int

    @classmethod
    def of(cls, chunk_s: float, stride_s: tuple[float, float], sampling_rate: int, step: int) -> Cutting:
        """OptionError where the strides leave nothing between them."""
        length, left, right = (round(seconds * sampling_rate / step) * step for seconds in (chunk_s, *stride_s))
        if length <= left + right:
            raise OptionError(f"chunk_length_s={chunk_s:g} must be longer than both strides together ({stride_s[0]:g} and {stride_s[1]:g} s).")
        return cls(length, left, right)

    def chunks(self, blocks: Iterable[Sound]) -> Iterator[Chunk]:
        """blocks: pieces of one sound, of any sizes."""
        held: list[Sound] = []
        count, first = 0, True
        for block in blocks:
            held.append(block)
            count += len(block)
            while count > self.length:
                joined = held[0] if len(held) == 1 else np.concatenate(held)
                yield Chunk(joined[: self.length], 0 if first else self.left, self.right, last=False)
                held = [joined[self.length - self.left - self.right :]]
                count, first = len(held[0]), False
        left = 0 if first else self.left
        if count > left:
            yield Chunk(np.concatenate(held), left, 0, last=True)
