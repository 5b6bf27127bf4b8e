"""A sound like a voice."""

import numpy as np
import pytest

RATE = 16000


def speechlike(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """A gliding voice with overtones, noise and pauses, float32 (samples,)."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = 120 + 40 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 12))
    loudness = np.clip(np.sin(2 * np.pi * 1.3 * time + seed), 0, None)
    return (0.1 * voice * loudness + 0.002 * random.standard_normal(len(time))).astype(np.float32)


@pytest.fixture(scope="session")
def speech():
    return speechlike
