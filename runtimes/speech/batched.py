"""A long recording cut at its silences, and the parts heard side by side: faster than window after window, without what one window tells the next.

The recording is read twice: for where there is speech, and to be heard. Neither keeps more of it than what is heard at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zen_edge.runtimes.audio.log_mel import LogMel
from zen_edge.runtimes.audio.reading import Source, read_blocks
from zen_edge.runtimes.audio.voice_activity import RATE, Rules, Speech, detector, windows
from zen_edge.runtimes.speech.prompts import Prompt
from zen_edge.runtimes.speech.sequential import Piece, Plan, Recorded, Recording, Whole, hear_all, recording
from zen_edge.runtimes.speech.windows import Heard, Window

BLOCK = 10 * RATE  # samples read at a time


@dataclass(frozen=True)
class Part:
    """audio (samples,) from `start` on, in seconds from the recording's beginning."""

    start: float
    audio: NDArray[np.float32]


def parts(source: Source, sampling_rate: int | None, wanted: int, longest: float) -> Iterator[Part]:
    """The stretches of `source` that hold speech, cut where nobody speaks, at most `longest` seconds each, at `wanted` Hz. Raises AudioError."""
    speech = detector().segments(read_blocks(source, sampling_rate, RATE, BLOCK), Rules(longest=longest))
    stretches = [Speech(found[0].start, found[-1].end) for found in windows(speech, longest)]
    return _cut(read_blocks(source, sampling_rate, wanted, BLOCK), stretches, wanted)


def _cut(blocks: Iterator[NDArray[np.float32]], stretches: Sequence[Speech], rate: int) -> Iterator[Part]:
    held, first = np.zeros(0, np.float32), 0  # the sample that `held` begins with
    for start, end in stretches:
        from_, to = round(start * rate), round(end * rate)
        while first + len(held) < to and (block := next(blocks, None)) is not None:
            drop = min(max(from_ - first, 0), len(held))
            held, first = np.concatenate((held[drop:], block)), first + drop
        yield Part(start, held[from_ - first : to - first])


def hear_parts(
    found: Iterator[Part],
    hear: Callable[[Sequence[Window]], list[Heard]],
    extractor: LogMel,
    prompt: Prompt,
    plan: Plan,
    together: int,
    place: int = 0,
) -> Recorded:
    """What is heard in a recording of these parts, `together` of them side by side, with times on the recording's own clock. A language that is not
    given is the one of the first part."""
    plan = replace(plan, context=False)
    starts: list[tuple[float, float]] = []  # of each part, and its end

    def recordings(prompt: Prompt, number: int | None = None) -> Iterator[tuple[int, Recording]]:
        while (number is None or len(starts) < number) and (part := next(found, None)) is not None:
            starts.append((part.start, part.start + len(part.audio) / extractor.sampling_rate))
            features = Whole(extractor.features(part.audio, padding_to=plan.length * extractor.hop))
            yield len(starts) - 1, recording(features, -(-len(part.audio) // extractor.hop), prompt, plan, place)

    heard: dict[int, Recorded] = {}
    if prompt.detects:
        heard |= hear_all(recordings(prompt, 1), hear, 1)
        if heard:
            prompt = Prompt(heard[0].start)
    heard |= hear_all(recordings(prompt), hear, together)
    ordered = [heard[place] for place in range(len(starts))]
    pieces = (_moved(piece, *starts[place]) for place, one in enumerate(ordered) for piece in one.pieces)
    start = tuple(token for token in prompt.tokens if token is not None)
    return Recorded(tuple(pieces), start, tuple(window for one in ordered for window in one.windows))


def _moved(piece: Piece, start: float, end: float) -> Piece:
    """On the recording's clock: what was heard in a part that lasts from `start` to `end`."""
    return replace(piece, start=start + piece.start, end=min(start + piece.end, end), offset=start + piece.offset)
