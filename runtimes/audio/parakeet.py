"""Parakeet's log-mel frames with mean 0 and variance 1 in each band, as transformers' ParakeetFeatureExtractor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_edge.errors import AudioError
from zen_edge.runtimes.audio.mel import hann, mel_power, slaney_filters

TYPE = "ParakeetFeatureExtractor"
GUARD = np.float32(2**-24)  # added to the power, so that silence has a logarithm
EPSILON = np.float32(1e-5)


def load(config: Mapping[str, Any]) -> Parakeet:
    return Parakeet(config)


class Parakeet:
    def __init__(self, config: Mapping[str, Any]) -> None:
        self.sampling_rate = int(config.get("sampling_rate", 16000))
        self._hop = int(config.get("hop_length", 160))
        self._n_fft = int(config.get("n_fft", 512))
        preemphasis = config.get("preemphasis", 0.97)
        self._preemphasis = None if preemphasis is None else np.float32(preemphasis)
        length = int(config.get("win_length", 400))
        before = (self._n_fft - length) // 2  # the window lies in the middle of what is transformed
        self._window = np.pad(hann(length, periodic=False), (before, self._n_fft - length - before))
        self._filters = slaney_filters(int(config.get("feature_size", 80)), self._n_fft, self.sampling_rate, self.sampling_rate / 2)

    def features(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """audio (samples,) -> (F, n_mels), one frame for every whole hop."""
        count = len(audio) // self._hop
        if count < 2:
            shortest, given = (1000 * samples / self.sampling_rate for samples in (2 * self._hop, len(audio)))
            raise AudioError(f"the audio is too short: {given:.1f} ms, and the model takes {shortest:.1f} ms and more.")
        if self._preemphasis is not None:
            audio = np.concatenate((audio[:1], audio[1:] - self._preemphasis * audio[:-1]))
        power = mel_power(np.pad(audio, self._n_fft // 2), self._window, self._hop, self._n_fft, self._filters)[:, :count]
        frames = np.log(power + GUARD).T
        return np.ascontiguousarray((frames - frames.mean(axis=0)) / (frames.std(axis=0, ddof=1) + EPSILON), np.float32)
