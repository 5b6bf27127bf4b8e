"""Speech heard while it is spoken: a pause settles what was said before it, and so does a limit where nobody pauses.

The sound is cut where a voice activity detector finds speech to end, and each part is heard as a recording by itself. What has been told never changes, and
nothing depends on how the sound is divided into blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from zen_edge.errors import OptionError, ZenEdgeError
from zen_edge.runtimes.audio.incoming import Incoming, Sound, Tape
from zen_edge.runtimes.audio.reading import resampler
from zen_edge.runtimes.audio.voice_activity import RATE, Rules, Speech, detector
from zen_edge.runtimes.decoding.checks import check_number
from zen_edge.runtimes.speech.transcript import Segment, Transcript

FRAMES = 8  # of the detector, looked at together: a quarter of a second
MARGIN = 0.2  # seconds kept around speech, where the pause leaves room for them
PAUSE, LONGEST = 0.5, 15.0  # seconds, unless the caller says others


def live_rules(pause: float, longest: float, window: float) -> Rules:
    """pause: seconds of silence that settle what was said. longest: of unbroken speech, up to the `window` that is heard at once. Raises OptionError."""
    check_number("pause", pause)
    check_number("longest", longest)
    if longest > window:
        raise OptionError(f"longest={longest:g} is more than the {window:g} s that the model hears at once: give less.")
    return Rules(least_silence=pause, margin=min(MARGIN, pause / 2), longest=longest)


class Live:
    """One stream of sound being heard. To be fed by one thread at a time."""

    def __init__(
        self, hear: Callable[[Sound], Transcript | None], sampling_rate: int, wanted: int, rules: Rules, stopped: Sequence[object] = ()
    ) -> None:
        """hear: a part by itself; None for what is too short. sampling_rate: the stream's, in Hz; wanted: that of `hear`. stopped: no longer empty once
        nothing more is to be heard."""
        self._hear, self._rate = hear, wanted
        self._incoming, self._to_detector = Incoming(sampling_rate, wanted), resampler(wanted, RATE)
        self._listener, self._tape = detector().listen(rules, FRAMES), Tape()
        self._done, self._stopped = False, stopped

    @property
    def ended(self) -> bool:
        """Whether it was finished, or ended by `should_stop`: nothing more can be fed."""
        return self._done or bool(self._stopped)

    def feed(self, block: NDArray[np.float32]) -> list[Segment]:
        """block: (samples,) or (samples, channels), of any size, which comes next -> the segments that are settled by it, with the times of the stream.

        Raises AudioError for what is no sound; the stream can go on without that block.
        """
        return list(self.following(block))

    def finish(self) -> list[Segment]:
        """The stream has ended -> the segments that were not settled yet. Nothing can be fed after that."""
        return list(self.rest())

    def following(self, block: NDArray[np.float32]) -> Iterator[Segment]:
        """As `feed`, one by one."""
        if self.ended:
            raise ZenEdgeError("this stream has ended: begin another with live().")
        for sound in self._incoming.feed(block):
            yield from self._added(sound)

    def rest(self) -> Iterator[Segment]:
        """As `finish`, one by one."""
        if self.ended:
            return
        self._done = True
        for sound in self._incoming.finish():
            yield from self._added(sound)
        yield from self._told(self._listener.feed(self._to_detector(np.zeros(0, np.float32), True)))
        yield from self._told(self._listener.finish())

    def _added(self, sound: Sound) -> Iterator[Segment]:
        self._tape.add(sound)
        yield from self._told(self._listener.feed(self._to_detector(sound, False)))
        self._tape.forget(int(self._listener.settled * self._rate))

    def _told(self, speech: Iterable[Speech]) -> Iterator[Segment]:
        for start, end in speech:
            if self._stopped:
                return
            audio = self._tape.cut(round(start * self._rate), min(round(end * self._rate), self._tape.end))
            found = self._hear(audio)
            if found is not None:
                yield from _segments(found, start, end)


def streamed(live: Live, blocks: Iterable[NDArray[np.float32]]) -> Iterator[Segment]:
    for block in blocks:
        yield from live.following(block)
        if live.ended:
            return
    yield from live.rest()


def _segments(found: Transcript, start: float, end: float) -> Iterator[Segment]:
    """Those of a part that lasts from `start` to `end` and that say something; all of it where their times are not told."""
    told = found.segments or (Segment(0.0, end - start, found.text, found.tokens, found.score, float("nan")),)
    return (segment.moved(start, end) for segment in told if segment.text.strip())
