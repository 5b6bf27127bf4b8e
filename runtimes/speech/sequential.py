"""A recording heard window after window: each begins where the segments of the one before end (transformers' long-form `generate`, of one recording).

A recording is a generator: it yields the window to hear next and is sent what was heard in it. `hear_all` lets several go on side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from zen_edge.runtimes.speech.prompts import Prompt, Vocabulary
from zen_edge.runtimes.speech.segments import FRAME, spans, unfinished
from zen_edge.runtimes.speech.windows import Heard, Thresholds, Window

MOST_CERTAIN = 0.5  # what was heard at a higher temperature is no context for what comes next


class Features(Protocol):
    """The features of a recording, read forwards."""

    @property
    def frames(self) -> int: ...

    def window(self, start: int, frames: int) -> NDArray[np.float32]:
        """(C,frames) from `start` on."""
        ...


@dataclass(frozen=True)
class Whole:
    """Features (C,F) that are all there."""

    features: NDArray[np.float32]

    @property
    def frames(self) -> int:
        return int(self.features.shape[1])

    def window(self, start: int, frames: int) -> NDArray[np.float32]:
        return self.features[:, start : start + frames]


@dataclass(frozen=True)
class Plan:
    """How recordings are heard. length: frames of a window. context: what was said goes before the next window's prompt. said_before: the tokens of
    the caller's own text, said_always: whether it stands before every window in place of the start-of-previous token. alone: the thresholds for what
    is all of its recording, None for the same."""

    vocabulary: Vocabulary
    thresholds: Thresholds
    length: int
    positions: int
    context: bool = False
    said_before: tuple[int, ...] = ()
    said_always: bool = False
    alone: Thresholds | None = None


@dataclass(frozen=True)
class Piece:
    """A segment of a recording: seconds, its tokens, and those of `heard` that they are."""

    start: float
    end: float
    tokens: tuple[int, ...]
    first: int
    offset: float
    heard: Heard


@dataclass(frozen=True)
class Recorded:
    """What was heard in a recording. start: the decoder's, the language filled in. windows: what was heard in each, silence left out. others: with
    num_return_sequences, the results after the best."""

    pieces: tuple[Piece, ...]
    start: tuple[int, ...]
    windows: tuple[Heard, ...]
    others: tuple[Recorded, ...] = ()


Recording = Generator[Window, Heard, Recorded]


def recording(features: Features, sound: int, prompt: Prompt, plan: Plan, place: int = 0) -> Recording:
    """sound: how many of the frames are no padding. place: among the inputs."""
    vocabulary = plan.vocabulary
    start: tuple[int | None, ...] = prompt.tokens
    pieces: list[Piece] = []
    windows: list[Heard] = []
    context, seek = plan.context, 0
    alone = features.frames <= plan.length
    thresholds = plan.alone if alone and plan.alone is not None else plan.thresholds
    while seek < features.frames:
        frames = min(features.frames - seek, plan.length)
        window = features.window(seek, frames)
        window = np.pad(window, ((0, 0), (0, plan.length - frames)))  # zeros, which are no silence, as in transformers
        said = tuple(token for piece in pieces for token in piece.tokens)
        sounding = max(0, min(sound - seek, plan.length))
        heard = yield Window(window, (*_before(pieces, context, plan), *start), sounding, alone, place, said)
        if heard.language is not None:
            start = prompt.filled(heard.language)
        filled = tuple(token for token in start if token is not None)
        if heard.others:
            results = [_pieces(one, seek, frames, sounding, thresholds, vocabulary, last=True)[0] for one in (heard, *heard.others)]
            best, *others = (
                Recorded(tuple(found), filled, (one,) if found else ()) for one, found in zip((heard, *heard.others), results, strict=True)
            )
            return replace(best, others=tuple(others))
        context = plan.context and heard.temperature < MOST_CERTAIN
        found, moved = _pieces(heard, seek, frames, sounding, thresholds, vocabulary, last=heard.stopped)
        pieces += found
        windows += [heard] if found else []
        seek = features.frames if heard.stopped else seek + moved
    return Recorded(tuple(pieces), tuple(token for token in start if token is not None), tuple(windows))


def _pieces(
    heard: Heard, seek: int, frames: int, sounding: int, thresholds: Thresholds, vocabulary: Vocabulary, *, last: bool
) -> tuple[list[Piece], int]:
    """The segments of a window, and how many frames the next one begins later. last: there is no next one, and what is unfinished is a segment too."""
    ended = heard.tokens[-1:] == (vocabulary.end,)
    tokens = heard.tokens[: len(heard.tokens) - ended]
    if not heard.tokens or (thresholds.is_silence(heard) and (ended or not heard.stopped)):
        return [], frames
    found, moved = spans(tokens, vocabulary.first_time, frames)
    found += unfinished(tokens, found, vocabulary.first_time, sounding) if last else []
    offset = seek * FRAME
    return [Piece(offset + span.start, offset + span.end, tokens[span.first : span.last], span.first, offset, heard) for span in found], moved


def _before(pieces: Sequence[Piece], context: bool, plan: Plan) -> tuple[int, ...]:
    """What the decoder takes for said before this window."""
    vocabulary = plan.vocabulary
    own = plan.said_before[plan.said_before[:1] == (vocabulary.previous,) :]
    told = bool(plan.said_before) and not plan.said_always  # the caller's text is the first of what was said
    if not context or not (pieces or told):
        return plan.said_before
    said = list(own) if told else []
    for piece in pieces:
        doubled = len(piece.tokens) > 2 and piece.tokens[-2] >= vocabulary.first_time  # the time that the next segment begins with again
        said += piece.tokens[: len(piece.tokens) - doubled]
    begin = plan.said_before if plan.said_always else () if vocabulary.previous is None else (vocabulary.previous,)
    return (*begin, *said[-(plan.positions // 2 - 1) :])


def hear_all(
    recordings: Iterator[tuple[int, Recording]], hear: Callable[[Sequence[Window]], list[Heard]], together: int
) -> Iterator[tuple[int, Recorded]]:
    """(place, what was heard) of numbered recordings, `together` of them side by side, each as soon as it is done."""
    active: dict[int, tuple[Recording, Window]] = {}
    while True:
        while len(active) < together and (following := next(recordings, None)) is not None:
            place, one = following
            try:
                active[place] = one, next(one)
            except StopIteration as end:
                yield place, end.value
        if not active:
            return
        heard = hear([window for _, window in active.values()])
        for (place, (one, _)), result in zip(list(active.items()), heard, strict=True):
            try:
                active[place] = one, one.send(result)
            except StopIteration as end:
                del active[place]
                yield place, end.value
