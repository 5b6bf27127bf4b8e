"""Whisper's log-mel spectrogram, as transformers' WhisperFeatureExtractor makes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_edge.errors import AudioError
from zen_edge.runtimes.audio.mel import hann, mel_power, slaney_filters

TYPE = "WhisperFeatureExtractor"
QUIETEST = 1e-10  # power; what silence has
RANGE = 8.0  # powers of ten below the loudest that are kept apart
HIGHEST = 8000.0  # Hz, whatever the sampling rate

Sound = NDArray[np.float32]


def load(config: Mapping[str, Any]) -> LogMel:
    return LogMel.from_config(config)


class LogMel:
    def __init__(self, n_mels: int, n_fft: int, hop: int, sampling_rate: int) -> None:
        self.sampling_rate = sampling_rate
        self.n_mels = n_mels
        self.hop = hop
        self._n_fft = n_fft
        self._window = hann(n_fft, periodic=True)
        self._filters = slaney_filters(n_mels, n_fft, sampling_rate, HIGHEST)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> LogMel:
        """config: a preprocessor_config.json. ValueError for one that asks for random noise."""
        if config.get("dither"):
            raise ValueError(f"dither is {config['dither']}, and added noise would give the same audio another text each time")
        return cls(
            int(config.get("feature_size", 80)),
            int(config.get("n_fft", 400)),
            int(config.get("hop_length", 160)),
            int(config.get("sampling_rate", 16000)),
        )

    def features(self, audio: Sound, padding_to: int | None = None, maximum: float | None = None) -> Sound:
        """audio (samples,) -> (n_mels, F), one frame for every `hop` samples.

        padding_to: lengthen with silence, or cut, to so many samples. maximum: of `log_power` over the whole of which this audio is a piece; None:
        this audio's own. Raises AudioError when that is shorter than half a window.
        """
        length = len(audio) if padding_to is None else padding_to
        if length <= self._n_fft // 2:
            raise AudioError(
                f"the audio is too short: {1000 * length / self.sampling_rate:.1f} ms, and one frame takes more than {self._shortest_ms:.1f} ms."
            )
        audio = audio[:length]
        # Silence is computed as far as a frame hears the sound or what is mirrored at the end; the frames after that are all the same.
        heard = min(length, (-(-len(audio) // self.hop) + -(-self._n_fft // self.hop)) * self.hop)
        found = np.full((self.n_mels, length // self.hop), np.log10(QUIETEST), np.float32)
        start = 0
        for piece in self.log_power([np.concatenate((audio, np.zeros(heard - len(audio), np.float32)))]):
            found[:, start : start + piece.shape[1]] = piece
            start += piece.shape[1]
        return self.normalized(found, maximum)

    @staticmethod
    def normalized(log_power: Sound, maximum: float | None = None) -> Sound:
        """log_power (n_mels, F), which is overwritten -> what the model takes. maximum: as in `features`."""
        loudest = log_power.max() if maximum is None else maximum
        np.maximum(log_power, np.float32(loudest - RANGE), out=log_power)
        log_power += np.float32(4)
        log_power /= np.float32(4)
        return log_power

    def log_power(self, blocks: Iterable[Sound]) -> Iterator[Sound]:
        """Pieces of one audio, of any sizes -> the decimal logarithm of its power, (n_mels, F) at a time, the same as in one piece.

        In constant memory: `max(piece.max() for piece in ...)` over a first reading gives the `maximum` with which a second one is `normalized`.
        """
        half = self._n_fft // 2
        held = np.zeros(0, np.float32)  # what the next frames begin with
        started = False
        for block in blocks:
            held = np.concatenate((held, block))
            if not started:
                if len(held) <= half:
                    continue
                held, started = np.concatenate((held[half:0:-1], held)), True
            # The last half window stays: the end of the audio is mirrored at it, and its last frame is dropped.
            ready = len(held) - half - 1
            frames = (ready - self._n_fft) // self.hop + 1
            if frames > 0:
                yield self._log_power_of(held[: (frames - 1) * self.hop + self._n_fft])
                held = held[frames * self.hop :].copy()
        if not started:
            raise AudioError(
                f"the audio is too short: {1000 * len(held) / self.sampling_rate:.1f} ms, and one frame takes more than {self._shortest_ms:.1f} ms."
            )
        held = np.concatenate((held, held[-2 : -half - 2 : -1]))
        frames = (len(held) - self._n_fft) // self.hop  # without the last
        if frames > 0:
            yield self._log_power_of(held[: (frames - 1) * self.hop + self._n_fft])

    def _log_power_of(self, audio: Sound) -> Sound:
        power = mel_power(audio, self._window, self.hop, self._n_fft, self._filters)
        np.maximum(power, np.float32(QUIETEST), out=power)
        return np.log10(power, out=power)

    @property
    def _shortest_ms(self) -> float:
        return 1000 * (self._n_fft // 2) / self.sampling_rate
