"""Sound that comes block by block, from a microphone or over a wire: mono float32 at the rate a model wants, and the last of it, to be cut out of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_edge.errors import AudioError
from zen_edge.runtimes.audio.reading import READ, checked_rate, mono, resampler, scaled

CHANNELS = 32  # more are samples in the wrong place

Sound = NDArray[np.float32]


class Incoming:
    """One sound at `sampling_rate` Hz in blocks (samples,) or (samples, channels) of any sizes -> the same samples at `wanted` Hz, however it is divided.

    Raises AudioError for a rate that is none.
    """

    def __init__(self, sampling_rate: int, wanted: int) -> None:
        self._rate = checked_rate(sampling_rate, "sampling_rate")
        self._resample = resampler(self._rate, wanted)
        self._channels: int | None = None
        self._samples = 0

    def feed(self, block: NDArray[Any]) -> Iterator[Sound]:
        """Raises AudioError for what is no block of this sound, before any of it is taken: the next one can follow."""
        try:
            channels = self._channels_of(block)
            pieces = [mono(piece) for piece in scaled(block)]
        except AudioError as error:
            raise AudioError(f"the block at {self._samples / self._rate:.2f} s of the stream: {error}") from None
        self._channels, self._samples = channels, self._samples + len(block)
        return (self._resample(piece, False) for piece in pieces)

    def finish(self) -> Iterator[Sound]:
        """What the resampling still held back."""
        yield self._resample(np.zeros(0, np.float32), True)

    def _channels_of(self, block: NDArray[Any]) -> int:
        if not isinstance(block, np.ndarray):
            raise AudioError(f"blocks are numpy arrays of samples; given was a {type(block).__name__}.")
        channels = 1 if block.ndim == 1 else block.shape[1] if block.ndim == 2 else 0
        if not 1 <= channels <= CHANNELS:
            raise AudioError(f"blocks are (samples,) or (samples, channels) with up to {CHANNELS} channels; given was one of shape {block.shape}.")
        if self._channels not in (None, channels):
            raise AudioError(f"it has {channels} channels, and those before it {self._channels}.")
        return channels


class Tape:
    """The last of a sound: samples are added at its end and let go of at its beginning, in memory for what lies between."""

    def __init__(self) -> None:
        self._buffer, self._first, self._count = np.zeros(READ, np.float32), 0, 0  # _first: the sample of the whole sound that is kept first

    @property
    def end(self) -> int:
        """Samples of the whole sound."""
        return self._first + self._count

    def add(self, sound: Sound) -> None:
        count = self._count + len(sound)
        if count > len(self._buffer):
            self._buffer = np.concatenate((self._buffer[: self._count], np.zeros(2 * count - self._count, np.float32)))
        self._buffer[self._count : count] = sound
        self._count = count

    def cut(self, start: int, end: int) -> Sound:
        """Samples [start, end) of the whole sound, none of which has been let go of."""
        assert self._first <= start <= end <= self.end
        return self._buffer[start - self._first : end - self._first].copy()

    def forget(self, before: int) -> None:
        """Lets go of the samples before that one."""
        if before > self._first:
            left = self.cut(min(before, self.end), self.end)
            self._first, self._count = self.end - len(left), len(left)
            self._buffer[: len(left)] = left
