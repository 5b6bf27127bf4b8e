"""Where there is speech: by the Silero VAD model (https://github.com/snakers4/silero-vad, MIT), which lies in runtimes/data, on ONNX Runtime.

    detector = VoiceActivity()
    for speech in detector.segments(read_blocks("lecture.mp3", None, RATE, RATE)):
        print(speech.start, speech.end)    # seconds

A minute takes a quarter of a second on one thread. Sound of any length takes constant memory: the model reads a block of frames at a time and hands its state on, and no more is kept than the
probabilities of one segment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zen_edge.errors import AudioError, OptionError
from zen_edge.runtimes.session import Session, find_provider

Sound = NDArray[np.float32]

RATE = 16_000  # Hz, the model's
FRAME, CONTEXT = 512, 64  # samples that a probability is for, and those before them that the model sees too
FRAMES = 256  # at a time: 8 s; one at a time takes three times as long
STATE = (1, 1, 128)
HYSTERESIS = 0.15  # how far under the threshold speech ends, as Silero recommends: between the two it goes on


class Speech(NamedTuple):
    """Seconds from the beginning of the sound."""

    start: float
    end: float


@dataclass(frozen=True)
class Rules:
    """threshold: the probability from which a frame is speech. The others are seconds: of silence that ends a segment; what is kept around it; what
    is taken for a click below it; and where a segment is cut at its least likely frame, None for nowhere. Raises OptionError for what cannot be held."""

    threshold: float = 0.5
    least_silence: float = 0.5
    margin: float = 0.2
    least_speech: float = 0.25
    longest: float | None = None

    def __post_init__(self) -> None:
        if not HYSTERESIS < self.threshold < 1:
            raise OptionError(f"threshold must lie between {HYSTERESIS} and 1, not {self.threshold!r}.")
        if not 0 <= 2 * self.margin <= self.least_silence:
            raise OptionError(
                f"margin must be at most half of least_silence ({self.least_silence} s), or segments would overlap; not {self.margin!r}."
            )
        if self.longest is not None and not self.longest >= 1 + 2 * self.margin:
            raise OptionError(f"longest must be at least one second more than two margins ({1 + 2 * self.margin:g} s), not {self.longest!r}.")


class _Span(NamedTuple):
    """Frames [start, end), and whether it was cut at that side."""

    start: int
    end: int
    cut_start: bool
    cut_end: bool


class VoiceActivity:
    """Safe to share between threads: every call keeps its own state."""

    def __init__(self, threads: int = 1) -> None:
        self._session = Session(Path(__file__).parents[1] / "data" / "silero_vad" / "silero_vad.onnx", find_provider("cpu"), threads)

    def segments(self, blocks: Iterable[Sound], rules: Rules = Rules()) -> Iterator[Speech]:
        """blocks: mono float32 at 16 kHz, (samples,) each, of any lengths, one after the other -> its speech, in order, each as soon as it has ended."""
        count = [0]  # samples so far
        for span in _spans(self._probabilities(blocks, count), rules):
            start = span.start * FRAME / RATE - (0 if span.cut_start else rules.margin)
            end = span.end * FRAME / RATE + (0 if span.cut_end else rules.margin)
            yield Speech(max(start, 0.0), min(end, count[0] / RATE))

    def probabilities(self, blocks: Iterable[Sound]) -> Iterator[NDArray[np.float32]]:
        """Of speech, (frames,) for so many frames of 32 ms at a time; the last frame is filled up with silence."""
        return self._probabilities(blocks, [0])

    def _probabilities(self, blocks: Iterable[Sound], count: list[int]) -> Iterator[NDArray[np.float32]]:
        h, c = np.zeros(STATE, np.float32), np.zeros(STATE, np.float32)
        before = np.zeros(CONTEXT, np.float32)
        for sound in _whole_frames(blocks, count):
            samples = np.concatenate([before, sound])
            seen = np.lib.stride_tricks.sliding_window_view(samples, CONTEXT + FRAME)[::FRAME]  # (frames, CONTEXT + FRAME)
            found = self._session.run({"input": np.ascontiguousarray(seen), "h": h, "c": c}, ("speech_probs", "hn", "cn"))
            before, h, c = samples[-CONTEXT:], found["hn"].numpy(), found["cn"].numpy()
            yield found["speech_probs"].numpy()


def windows(segments: Iterable[Speech], longest: float) -> Iterator[tuple[Speech, ...]]:
    """Neighbouring segments together, as long as from the first one's start to the last one's end are `longest` seconds at most."""
    held: list[Speech] = []
    for speech in segments:
        if held and speech.end - held[0].start > longest:
            yield tuple(held)
            held = []
        held.append(speech)
    if held:
        yield tuple(held)


def _whole_frames(blocks: Iterable[Sound], count: list[int]) -> Iterator[Sound]:
    """At most FRAMES frames at a time, the last filled up with zeros; `count[0]` is how many samples there were."""
    held, size = list[Sound](), 0
    for block in blocks:
        if not isinstance(block, np.ndarray) or block.ndim != 1 or block.dtype != np.float32:
            shape = f"{block.dtype} {block.shape}" if isinstance(block, np.ndarray) else type(block).__name__
            raise AudioError(f"voice activity is found in float32 arrays (samples,) at {RATE} Hz; given was {shape}.")
        count[0] += len(block)
        for start in range(0, len(block), FRAME * FRAMES):
            piece = block[start : start + FRAME * FRAMES]
            held.append(piece)
            size += len(piece)
            if size >= FRAME * FRAMES:
                joined = np.concatenate(held)
                yield joined[: FRAME * FRAMES]
                held, size = [joined[FRAME * FRAMES :].copy()], size - FRAME * FRAMES
    if size:
        yield np.pad(np.concatenate(held), (0, -size % FRAME))


def _spans(probabilities: Iterable[NDArray[np.float32]], rules: Rules) -> Iterator[_Span]:
    """Speech in frames: it begins at the threshold, and ends where the probability stays under it for `least_silence`."""
    silence, least = _frames(rules.least_silence), _frames(rules.least_speech)
    longest = None if rules.longest is None else int((rules.longest - 2 * rules.margin) * RATE / FRAME)
    start = quiet = None  # frames where the segment began, and where the silence did that may end it
    held: list[float] = []  # probabilities since `start`, where it may have to be cut
    cut, frame = False, 0
    for block in probabilities:
        for probability in block.tolist():
            if start is None:
                if probability >= rules.threshold:
                    start, quiet, cut, held = frame, None, False, []
            elif probability >= rules.threshold:
                quiet = None
            elif probability < rules.threshold - HYSTERESIS and quiet is None:
                quiet = frame
            frame += 1
            if start is None:
                continue
            if quiet is not None and frame - quiet >= silence:
                if quiet > start and (cut or quiet - start >= least):
                    yield _Span(start, quiet, cut, False)
                start = None
            elif longest is not None:
                held.append(probability)
                if len(held) >= longest:
                    at = longest // 2 + int(np.argmin(held[longest // 2 :]))
                    yield _Span(start, start + at, cut, True)
                    start, cut, held = start + at, True, held[at:]
                    quiet = None if quiet is None else max(quiet, start)
    end = quiet or frame
    if start is not None and end > start and (cut or end - start >= least):
        yield _Span(start, end, cut, False)


def _frames(seconds: float) -> int:
    return max(1, round(seconds * RATE / FRAME))
