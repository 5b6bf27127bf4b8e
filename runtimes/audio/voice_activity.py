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
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zen_edge.errors import AudioError, OptionError
from zen_edge.runtimes.providers import find_provider
from zen_edge.runtimes.session import Session

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
        listener = self.listen(rules)
        for block in blocks:
            yield from listener.feed(block)
        yield from listener.finish()

    def probabilities(self, blocks: Iterable[Sound]) -> Iterator[NDArray[np.float32]]:
        """Of speech, (frames,) for so many frames of 32 ms at a time; the last frame is filled up with silence."""
        frames = _Frames(self._session, FRAMES)
        for block in blocks:
            yield from frames.feed(block)
        yield from frames.finish()

    def listen(self, rules: Rules = Rules(), frames: int = FRAMES) -> Listener:
        """For sound that comes bit by bit. frames: looked at together; fewer are answered sooner, and cost more each."""
        return Listener(_Frames(self._session, frames), rules)


@cache
def detector() -> VoiceActivity:
    """Loaded when the first sound is cut; it keeps nothing between calls."""
    return VoiceActivity()


class Listener:
    """Hears one sound, in blocks as `VoiceActivity.segments` takes them, and tells its speech as soon as it has ended."""

    def __init__(self, frames: _Frames, rules: Rules) -> None:
        self._frames, self._rules, self._spans = frames, rules, _Spans(rules)

    @property
    def settled(self) -> float:
        """Seconds: no speech that is still to be told begins before."""
        return max(self._spans.opened * FRAME / RATE - (0 if self._spans.cut else self._rules.margin), 0.0)

    def feed(self, block: Sound) -> Iterator[Speech]:
        for probabilities in self._frames.feed(block):
            yield from map(self._speech, self._spans.feed(probabilities))

    def finish(self) -> Iterator[Speech]:
        """Of what is left: the sound has ended."""
        for probabilities in self._frames.finish():
            yield from map(self._speech, self._spans.feed(probabilities))
        yield from map(self._speech, self._spans.finish())

    def _speech(self, span: _Span) -> Speech:
        start = span.start * FRAME / RATE - (0 if span.cut_start else self._rules.margin)
        end = span.end * FRAME / RATE + (0 if span.cut_end else self._rules.margin)
        return Speech(max(start, 0.0), min(end, self._frames.samples / RATE))


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


class _Frames:
    """The probabilities of one sound, `together` frames at a time."""

    def __init__(self, session: Session, together: int) -> None:
        self._session, self._size = session, together * FRAME
        self._h, self._c, self._before = np.zeros(STATE, np.float32), np.zeros(STATE, np.float32), np.zeros(CONTEXT, np.float32)
        self._held, self._count = list[Sound](), 0
        self.samples = 0  # so far

    def feed(self, block: Sound) -> Iterator[NDArray[np.float32]]:
        if not isinstance(block, np.ndarray) or block.ndim != 1 or block.dtype != np.float32:
            shape = f"{block.dtype} {block.shape}" if isinstance(block, np.ndarray) else type(block).__name__
            raise AudioError(f"voice activity is found in float32 arrays (samples,) at {RATE} Hz; given was {shape}.")
        self.samples += len(block)
        for start in range(0, len(block), self._size):
            piece = block[start : start + self._size]
            self._held.append(piece)
            self._count += len(piece)
            if self._count >= self._size:
                joined = np.concatenate(self._held)
                self._held, self._count = [joined[self._size :].copy()], self._count - self._size
                yield self._probabilities(joined[: self._size])

    def finish(self) -> Iterator[NDArray[np.float32]]:
        """Of what is left, filled up with silence."""
        if self._count:
            yield self._probabilities(np.pad(np.concatenate(self._held), (0, -self._count % FRAME)))
            self._held, self._count = [], 0

    def _probabilities(self, sound: Sound) -> NDArray[np.float32]:
        samples = np.concatenate([self._before, sound])
        seen = np.lib.stride_tricks.sliding_window_view(samples, CONTEXT + FRAME)[::FRAME]  # (frames, CONTEXT + FRAME)
        found = self._session.run({"input": np.ascontiguousarray(seen), "h": self._h, "c": self._c}, ("speech_probs", "hn", "cn"))
        self._before, self._h, self._c = samples[-CONTEXT:], found["hn"].numpy(), found["cn"].numpy()
        probabilities: NDArray[np.float32] = found["speech_probs"].numpy()
        return probabilities


class _Spans:
    """Speech in frames: it begins at the threshold, and ends where the probability stays under it for `least_silence`."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._silence, self._least = _frames(rules.least_silence), _frames(rules.least_speech)
        self._longest = None if rules.longest is None else int((rules.longest - 2 * rules.margin) * RATE / FRAME)
        self._start: int | None = None  # the frame where the segment began
        self._quiet: int | None = None  # where the silence did that may end it
        self._held: list[float] = []  # probabilities since `_start`, where it may have to be cut
        self._frame = 0
        self.cut = False  # whether it began at a cut

    @property
    def opened(self) -> int:
        """The frame where the next span begins, or may begin."""
        return self._frame if self._start is None else self._start

    def feed(self, probabilities: NDArray[np.float32]) -> Iterator[_Span]:
        rules = self._rules
        for probability in probabilities.tolist():
            if self._start is None:
                if probability >= rules.threshold:
                    self._start, self._quiet, self._held = self._frame, None, []
            elif probability >= rules.threshold:
                self._quiet = None
            elif probability < rules.threshold - HYSTERESIS and self._quiet is None:
                self._quiet = self._frame
            self._frame += 1
            if self._start is None:
                continue
            if self._quiet is not None and self._frame - self._quiet >= self._silence:
                yield from self._ended(self._quiet)
            elif self._longest is not None:
                self._held.append(probability)
                if len(self._held) >= self._longest:
                    yield self._cut()

    def finish(self) -> Iterator[_Span]:
        yield from self._ended(self._quiet or self._frame)

    def _cut(self) -> _Span:
        """At the least likely frame of the second half."""
        assert self._start is not None
        half = len(self._held) // 2
        at = half + int(np.argmin(self._held[half:]))
        found = _Span(self._start, self._start + at, self.cut, True)
        self._start, self._held, self.cut = found.end, self._held[at:], True
        self._quiet = None if self._quiet is None else max(self._quiet, found.end)
        return found

    def _ended(self, end: int) -> Iterator[_Span]:
        if self._start is not None and end > self._start and (self.cut or end - self._start >= self._least):
            yield _Span(self._start, end, self.cut, False)
        self._start, self.cut = None, False


def _frames(seconds: float) -> int:
    return max(1, round(seconds * RATE / FRAME))
