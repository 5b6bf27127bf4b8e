"""Kaldi's log-mel filter bank: frames of 25 ms every 10 ms, as several extractors of transformers begin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_edge.errors import AudioError
from zen_edge.runtimes.audio.mel import hann, kaldi_filters, mel_power

WINDOW, HOP, N_FFT = 400, 160, 512  # samples, whatever the sampling rate
LOWEST = 20.0  # Hz
QUIETEST = np.float32(1.192092955078125e-07)  # power
PREEMPHASIS = np.float32(0.97)

Sound = NDArray[np.float32]


class FilterBank:
    def __init__(self, config: Mapping[str, Any]) -> None:
        """config: a preprocessor_config.json. ValueError for one that asks for random noise."""
        if config.get("dither"):
            raise ValueError(f"dither is {config['dither']}, and added noise would give the same audio another text each time")
        self.sampling_rate = int(config.get("sampling_rate", 16000))
        self._window = hann(WINDOW, periodic=False) ** 0.85  # Povey's
        self._filters = kaldi_filters(int(config.get("num_mel_bins", 80)), N_FFT, self.sampling_rate, LOWEST, self.sampling_rate // 2)

    def __call__(self, audio: Sound, least: int) -> Sound:
        """audio (samples,) -> (F, n_mels). AudioError when that makes fewer frames than `least`."""
        power = mel_power(audio * np.float32(2**15), self._window, HOP, N_FFT, self._filters, _prepared)  # the scale of 16-bit integers
        if power.shape[1] < least:
            shortest, given = (1000 * samples / self.sampling_rate for samples in (WINDOW + (least - 1) * HOP, len(audio)))
            raise AudioError(f"the audio is too short: {given:.1f} ms, and the model takes {shortest:.1f} ms and more.")
        np.maximum(power, QUIETEST, out=power)
        np.log(power, out=power)
        return power.T


def _prepared(frames: Sound) -> Sound:
    """Frames (F, window) without their means and with their high tones raised."""
    centred: Sound = frames - frames.mean(axis=1, keepdims=True)
    raised = np.empty_like(centred)
    raised[:, 0] = centred[:, 0] * (1 - PREEMPHASIS)
    raised[:, 1:] = centred[:, 1:] - PREEMPHASIS * centred[:, :-1]
    return raised
