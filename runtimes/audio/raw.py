"""The samples as they are, or with mean 0 and variance 1 (wav2vec2 and its kin; moonshine), as transformers' Wav2Vec2FeatureExtractor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_edge.errors import AudioError

TYPE = "Wav2Vec2FeatureExtractor"


def load(config: Mapping[str, Any]) -> Raw:
    return Raw(int(config.get("sampling_rate", 16000)), bool(config.get("do_normalize", True)))


class Raw:
    def __init__(self, sampling_rate: int, normalize: bool) -> None:
        self.sampling_rate = sampling_rate
        self._normalize = normalize

    def features(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """audio (samples,) -> (samples,)."""
        if not len(audio):
            raise AudioError("the audio holds no samples.")
        return (audio - audio.mean()) / np.sqrt(audio.var() + np.float32(1e-7)) if self._normalize else audio
