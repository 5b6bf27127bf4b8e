"""Audio files, bytes and arrays as mono float32 at the rate a model wants: whole, or block by block in constant memory."""

from __future__ import annotations

import importlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_edge.errors import AudioError, MissingDependencyError
from zen_edge.runtimes.audio.containers import ends_within_a_page, of_another_kind

RATES = (1_000, 768_000)  # Hz; what lies outside is a damaged header or another unit
LOUDEST = 2.0**31  # floats may carry the scale of 32-bit integers; above it squares overflow
CUT_OFF = re.compile(r"data : (\d+) \(should be (\d+)\)")  # libsndfile's note on a wav file that is shorter than its header says
UNKNOWN = 2**31 - 2**16  # what programs that write to a pipe put where the length should be, or more
READ = 1 << 16  # samples of a file read at a time
SCALES: dict[str, tuple[int, float]] = {
    "uint8": (128, 128.0),
    "int8": (0, 128.0),
    "int16": (0, 2.0**15),
    "int32": (0, 2.0**31),
}  # zero, and full scale

Source = str | Path | bytes | NDArray[Any]


def read_audio(source: Source, sampling_rate: int | None, wanted: int) -> NDArray[np.float32]:
    """The whole of a file (wav, flac, mp3, ogg and others), of its bytes, or of an array (samples,) or (samples, channels) -> (samples,), mono, at `wanted` Hz.

    sampling_rate: an array's, in Hz; for a file only to say what it should be. Integers are scaled to -1..1. Raises AudioError for what is no audio,
    MissingDependencyError where a library of the extra `audio` is needed and not there: for files, and where the rate changes.
    """
    return np.concatenate(list(_resampled(source, sampling_rate, wanted)))


def read_blocks(source: Source, sampling_rate: int | None, wanted: int, samples: int) -> Iterator[NDArray[np.float32]]:
    """As `read_audio`, in pieces of exactly `samples`, the last one shorter; a file of any length takes the memory of a few pieces."""
    held: list[NDArray[np.float32]] = []
    count = 0
    for piece in _resampled(source, sampling_rate, wanted):
        held.append(piece)
        count += len(piece)
        if count >= samples:
            joined = np.concatenate(held)
            whole = count - count % samples
            yield from joined[:whole].reshape(-1, samples)
            held, count = [joined[whole:].copy()], count - whole
    if count:
        yield np.concatenate(held)


def _resampled(source: Source, sampling_rate: int | None, wanted: int) -> Iterator[NDArray[np.float32]]:
    """Pieces of mono at `wanted` Hz, at least one sample in all."""
    with _opened(source, sampling_rate) as (rate, pieces):
        resample = resampler(rate, wanted)
        count = 0
        for piece in pieces:
            found = resample(mono(piece), False)
            count += len(found)
            yield found
        found = resample(np.zeros(0, np.float32), True)
        if not count + len(found):
            raise AudioError(f"{_name(source)} holds no sound: it has no samples.")
        yield found


def resampler(rate: int, wanted: int) -> Any:
    """A function of a piece and whether it is the last -> that piece at `wanted` Hz; it remembers what it needs of the pieces before."""
    if rate == wanted:
        return lambda piece, last: piece
    soxr = _library("soxr", f"changing the sampling rate from {rate} to {wanted} Hz")
    return soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ").resample_chunk


@contextmanager
def _opened(source: Source, sampling_rate: int | None) -> Iterator[tuple[int, Iterator[NDArray[Any]]]]:
    """The rate, and pieces (samples,) or (samples, channels)."""
    if isinstance(source, np.ndarray):
        if sampling_rate is None:
            raise AudioError("an array does not say its sampling rate: give sampling_rate=, in Hz.")
        yield checked_rate(sampling_rate, "sampling_rate"), _pieces_of(source)
    elif isinstance(source, (str, Path, bytes)):
        with _sound_file(source) as file:
            rate = checked_rate(file.samplerate, _name(source))
            if sampling_rate not in (None, rate):
                raise AudioError(f"{_name(source)} was recorded at {rate} Hz, and sampling_rate={sampling_rate} was given: leave it out for a file.")
            yield rate, _pieces_in(file, source)
    else:
        raise AudioError(f"audio is a path, the bytes of a file, or a numpy array with its sampling_rate; given was a {type(source).__name__}.")


def _pieces_of(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    if array.ndim not in (1, 2):
        raise AudioError(f"an array of audio is (samples,) or (samples, channels); given was one of shape {array.shape}.")
    if array.ndim == 2 and array.size and array.shape[1] > array.shape[0]:
        raise AudioError(f"an array of audio is (samples, channels), and one of shape {array.shape} has more channels than samples: transpose it.")
    return scaled(array if array.size else array.reshape(-1))


def scaled(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Pieces of it in floats, -1..1 for integers. Raises AudioError for other types."""
    if array.dtype.kind != "f" and array.dtype.name not in SCALES:
        raise AudioError(f"audio is of {', '.join(SCALES)} or floats in -1..1; given was {array.dtype}.")
    zero, full = SCALES.get(array.dtype.name, (0, 1.0))
    for start in range(0, len(array), READ):
        yield (array[start : start + READ].astype(np.float64) - zero) / full


def mono(piece: NDArray[Any]) -> NDArray[np.float32]:
    """Floats (samples,) or (samples, channels) -> (samples,). AudioError for numbers that are not finite, or that no recording has."""
    mixed = piece.mean(axis=1) if piece.ndim == 2 else piece
    if mixed.size:
        loudest = np.abs(mixed).max()
        if not np.isfinite(loudest):
            raise AudioError("the audio holds numbers that are not finite (NaN or infinity).")
        if loudest > LOUDEST:
            raise AudioError(f"the audio holds {loudest:.3g}, and samples are floats in -1..1.")
    return np.ascontiguousarray(mixed, np.float32)


def checked_rate(rate: Any, name: str) -> int:
    if isinstance(rate, bool) or not isinstance(rate, (int, np.integer)) or not RATES[0] <= rate <= RATES[1]:
        raise AudioError(f"{name} is {rate!r}: a sampling rate is a whole number of Hz from {RATES[0]} to {RATES[1]}.")
    return int(rate)


def _sound_file(source: str | Path | bytes) -> Any:
    soundfile = _library("soundfile", "reading an audio file")
    if isinstance(source, bytes):
        return _heeding(lambda: soundfile.SoundFile(io.BytesIO(source)), source)
    path = Path(source)
    if not path.exists():
        raise AudioError(f"there is no file {path}.")
    if path.is_dir():
        raise AudioError(f"{path} is a folder, not an audio file.")
    return _heeding(lambda: soundfile.SoundFile(path), source)


def _pieces_in(file: Any, source: str | Path | bytes) -> Iterator[NDArray[Any]]:
    count, promised = 0, file.frames
    found = CUT_OFF.search(file.extra_info)
    if found and int(found[1]) < UNKNOWN:  # a wav file whose header is longer than its data
        promised = int(promised * int(found[1]) / max(int(found[2]), 1))
    while len(piece := _heeding(lambda: file.read(READ, dtype="float32", always_2d=True), source)):
        count += len(piece)
        yield piece
    rate = file.samplerate
    if count < promised:
        raise AudioError(f"{_name(source)} is cut off: it should last {promised / rate:.2f} s, and ends after {count / rate:.2f} s.")
    if file.format == "OGG" and ends_within_a_page(source):
        raise AudioError(f"{_name(source)} is cut off: it ends within a page, after {count / rate:.2f} s.")


def _heeding(call: Any, source: str | Path | bytes) -> Any:
    """What libsndfile answers; its errors become an AudioError."""
    soundfile = _library("soundfile", "reading an audio file")
    try:
        return call()
    except (soundfile.LibsndfileError, OSError, TypeError) as error:  # TypeError: a file without a header, which would need its rate and type told
        said = " ".join(str(getattr(error, "error_string", error)).split()).rstrip(".")
        said = f"it is {kind}" if (kind := of_another_kind(source)) else said
        said = "no sound found in it" if "does not exist" in said else said  # what libsndfile says of an mp3 file without frames
        raise AudioError(f"{_name(source)} cannot be read as audio ({said}): wav, flac, ogg and mp3 can be.") from error


def _name(source: Source) -> str:
    if isinstance(source, np.ndarray):
        return "the array"
    return f"the audio ({len(source)} bytes)" if isinstance(source, bytes) else str(source)


def _library(name: str, purpose: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:  # OSError: soundfile is there and the library it wraps is not
        raise MissingDependencyError(f'{purpose} needs {name}: pip install "zen-edge[audio]".') from error
