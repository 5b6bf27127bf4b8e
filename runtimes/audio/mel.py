"""Windows, mel filters and power spectra: what every log-mel extractor is made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Sound = NDArray[np.float32]

FRAMES = 1000  # transformed together: 2 MB of float32, which stays in the cache


def hann(length: int, *, periodic: bool) -> Floats:
    return np.hanning(length + 1)[:-1] if periodic else np.hanning(length)


def slaney(hertz: Floats) -> Floats:
    """Hz to mel: linear up to 1000 Hz, logarithmic above (Slaney, Auditory Toolbox, 1998)."""
    return np.where(hertz < 1000, hertz * 3 / 200, 15 + np.log(np.maximum(hertz, 1000) / 1000) * 27 / np.log(6.4))


def slaney_to_hertz(mel: Floats) -> Floats:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def kaldi(hertz: Floats) -> Floats:
    """Hz to mel, as Kaldi and HTK have it."""
    return 1127 * np.log1p(hertz / 700)


def triangles(bins: Floats, edges: Floats) -> Floats:
    """bins (F,): where each bin of a spectrum lies. edges (n+2,): where a filter begins, peaks where the next begins, and ends -> (n, F)."""
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rising, falling))


def slaney_filters(n_mels: int, n_fft: int, sampling_rate: int, highest: float) -> Sound:
    """(n_mels, n_fft // 2 + 1), each filter of the same area (Slaney)."""
    edges = slaney_to_hertz(np.linspace(0, float(slaney(np.array(highest))), n_mels + 2))
    filters = triangles(np.linspace(0, sampling_rate // 2, n_fft // 2 + 1), edges)
    return (filters * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


def kaldi_filters(n_mels: int, n_fft: int, sampling_rate: int, lowest: float, highest: float) -> Sound:
    """(n_mels, n_fft // 2 + 1), triangles on the mel scale."""
    bins = kaldi(np.arange(n_fft // 2 + 1, dtype=np.float64) * (sampling_rate / n_fft))
    return triangles(bins, np.linspace(float(kaldi(np.array(lowest))), float(kaldi(np.array(highest))), n_mels + 2)).astype(np.float32)


def frames_in(samples: int, length: int, hop: int) -> int:
    return max(0, (samples - length) // hop + 1)


def mel_power(
    audio: Sound, window: NDArray[np.floating], hop: int, n_fft: int, filters: Sound, prepare: Callable[[Sound], Sound] | None = None
) -> Sound:
    """audio (samples,) -> power under each filter (n_mels, F) of every whole frame. prepare: what is done to frames (F, window) before the window."""
    count = frames_in(len(audio), len(window), hop)
    found = np.empty((len(filters), count), np.float32)
    if not count:
        return found
    frames = np.lib.stride_tricks.sliding_window_view(audio, len(window))[::hop]
    window = window.astype(np.float32)
    for start in range(0, count, FRAMES):
        piece = frames[start : start + FRAMES]
        spectrum = np.fft.rfft((prepare(piece) if prepare else piece) * window, n_fft)  # (F, n_fft // 2 + 1)
        found[:, start : start + FRAMES] = filters @ (spectrum.real**2 + spectrum.imag**2).T
    return found
