"""Kaldi's filter bank with mean 0 and variance 1 in each band, two frames side by side (wav2vec2-bert), as transformers' SeamlessM4TFeatureExtractor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_edge.runtimes.audio.kaldi import FilterBank

TYPE = "SeamlessM4TFeatureExtractor"


def load(config: Mapping[str, Any]) -> SeamlessM4T:
    return SeamlessM4T(config)


class SeamlessM4T:
    def __init__(self, config: Mapping[str, Any]) -> None:
        self._bank = FilterBank({**config, "dither": 0})  # transformers' has none, whatever the file says
        self.sampling_rate = self._bank.sampling_rate
        self._stride = int(config.get("stride", 2))

    def features(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """audio (samples,) -> (F // stride, n_mels * stride): the frames that are left over are dropped."""
        frames = self._bank(audio, least=max(2, self._stride))
        # transformers pads to an even number of frames, and the mask then leaves out a step whose second frame is padding
        frames = (frames - frames.mean(axis=0)) / np.sqrt(frames.var(axis=0, ddof=1) + np.float32(1e-7))
        steps = len(frames) // self._stride
        return np.ascontiguousarray(frames[: steps * self._stride].reshape(steps, -1), np.float32)
