"""The features of a recording: a short one at once, padded to a window; a longer one piece by piece, in memory that does not grow with it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from zen_edge.runtimes.audio.log_mel import LogMel
from zen_edge.runtimes.audio.reading import Source, read_blocks
from zen_edge.runtimes.speech.sequential import Features, Whole

BLOCK = 30  # seconds of audio at a time


def is_longer(source: Source, sampling_rate: int | None, extractor: LogMel, window: int) -> bool:
    """Whether a recording takes more than one window of so many frames. Raises AudioError."""
    blocks = read_blocks(source, sampling_rate, extractor.sampling_rate, window * extractor.hop)
    next(blocks)
    return next(blocks, None) is not None


def open_recording(source: Source, sampling_rate: int | None, extractor: LogMel, window: int) -> tuple[Features, int, bool]:
    """window: frames that the model hears at once. Returns the features, how many frames of them are sound, and whether they are longer than a window.

    Raises AudioError.
    """
    blocks = read_blocks(source, sampling_rate, extractor.sampling_rate, max(BLOCK * extractor.sampling_rate, window * extractor.hop))
    first = next(blocks)
    second = next(blocks, None)
    if second is None and len(first) <= window * extractor.hop:
        return Whole(extractor.features(first, padding_to=window * extractor.hop)), -(-len(first) // extractor.hop), False
    blocks.close()  # type: ignore[attr-defined] # a generator
    long = Streamed(source, sampling_rate, extractor)
    return long, -(-long.samples // extractor.hop), True


class Streamed:
    """Read twice: once for the loudest of all its features, which the others are measured by, and once to be heard. Only forwards."""

    def __init__(self, source: Source, sampling_rate: int | None, extractor: LogMel) -> None:
        self._source, self._sampling_rate, self._extractor = source, sampling_rate, extractor
        self.samples = self._frames = 0
        loudest: list[np.float32] = []
        for piece in extractor.log_power(self._counted()):
            self._frames += piece.shape[1]
            loudest.append(piece.max())
        self._maximum = float(max(loudest))
        self._pieces = extractor.log_power(self._blocks())
        self._held: NDArray[np.float32] = np.zeros((extractor.n_mels, 0), np.float32)
        self._first = 0  # the frame that `_held` begins with

    @property
    def frames(self) -> int:
        return self._frames

    def window(self, start: int, frames: int) -> NDArray[np.float32]:
        while self._first + self._held.shape[1] < start + frames:
            piece = self._extractor.normalized(np.ascontiguousarray(next(self._pieces)), self._maximum)
            drop = min(max(start - self._first, 0), self._held.shape[1])
            self._held = np.concatenate((self._held[:, drop:], piece), axis=1)
            self._first += drop
        return self._held[:, start - self._first : start - self._first + frames]

    def _blocks(self) -> Iterator[NDArray[np.float32]]:
        return read_blocks(self._source, self._sampling_rate, self._extractor.sampling_rate, BLOCK * self._extractor.sampling_rate)

    def _counted(self) -> Iterator[NDArray[np.float32]]:
        for block in self._blocks():
            self.samples += len(block)
            yield block
