"""Kaldi's filter bank with mean 0 and variance 1 in each band, as transformers' Speech2TextFeatureExtractor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_edge.runtimes.audio.kaldi import FilterBank

TYPE = "Speech2TextFeatureExtractor"


def load(config: Mapping[str, Any]) -> SpeechToText:
    return SpeechToText(config)


class SpeechToText:
    def __init__(self, config: Mapping[str, Any]) -> None:
        self._bank = FilterBank(config)
        self.sampling_rate = self._bank.sampling_rate
        normalize = bool(config.get("do_ceptral_normalize", True))  # the file spells it so
        self._means = normalize and bool(config.get("normalize_means", True))
        self._variances = normalize and bool(config.get("normalize_vars", True))

    def features(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """audio (samples,) -> (F, n_mels)."""
        frames = self._bank(audio, least=2 if self._variances else 1)
        if self._means:
            frames = frames - frames.mean(axis=0)
        if self._variances:
            deviation = frames.std(axis=0)
            deviation[deviation == 0] = 1  # silence, where transformers would give NaN
            frames = frames / deviation
        return np.ascontiguousarray(frames, np.float32)
