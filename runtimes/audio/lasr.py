"""LASR's log-mel frames, as transformers' LasrFeatureExtractor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_edge.errors import AudioError
from zen_edge.runtimes.audio.mel import hann, kaldi_filters, mel_power

TYPE = "LasrFeatureExtractor"
LOWEST, HIGHEST = 125.0, 7500.0  # Hz
QUIETEST = np.float32(1e-5)  # power


def load(config: Mapping[str, Any]) -> Lasr:
    return Lasr(config)


class Lasr:
    def __init__(self, config: Mapping[str, Any]) -> None:
        self.sampling_rate = int(config.get("sampling_rate", 16000))
        self._hop = int(config.get("hop_length", 160))
        self._n_fft = int(config.get("n_fft", 512))
        self._window = hann(int(config.get("win_length", 400)), periodic=False)
        self._filters = kaldi_filters(int(config.get("feature_size", 128)), self._n_fft, self.sampling_rate, LOWEST, HIGHEST)

    def features(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """audio (samples,) -> (F, n_mels), one for every whole window."""
        power = mel_power(audio, self._window, self._hop, self._n_fft, self._filters)
        if not power.shape[1]:
            given, shortest = (1000 * samples / self.sampling_rate for samples in (len(audio), len(self._window)))
            raise AudioError(f"the audio is too short: {given:.1f} ms, and the model takes {shortest:.1f} ms and more.")
        return np.ascontiguousarray(np.log(np.maximum(power, QUIETEST)).T)
