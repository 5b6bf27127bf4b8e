"""Sounds that a recognizer is held against PyTorch with: recordings, or made-up ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Sound:
    """audio (samples,), mono. target: what is said, where that is known."""

    name: str
    audio: Array
    target: str | None = None


def voice(samples: int, rate: int, seed: int) -> Array:
    """A gliding tone with overtones, pauses and noise, float32 (samples,)."""
    time = np.arange(samples) / rate
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * (0.7 + 0.2 * seed) * time)) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 12))
    loudness = np.clip(np.sin(2 * np.pi * 1.3 * time + seed), 0, None)
    return np.asarray(0.1 * voice * loudness + 0.02 * np.random.default_rng(seed).standard_normal(samples), np.float32)
