"""Short recordings heard without the silence that would fill their window.

A model of 30-second windows spends as long on two seconds of speech as on thirty. Its encoder works on less as well, if a floor and some silence at the end
are left to it; where the transcript looks wrong all the same, the whole window is heard. Only for recordings that a single window holds: where one window
begins depends on the times told in the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zen_edge.runtimes.speech.prompts import Vocabulary
from zen_edge.runtimes.speech.windows import Heard, Thresholds, Window

FLOOR = 1000  # frames: 10 s, below which Whisper begins to invent words
MARGIN = 150  # frames of silence after the sound
STEP = 200  # frames; lengths between are rounded up, so that recordings of like length are heard side by side
LEAST_LOG_PROB = -0.7  # the mean of a transcript that is believed
MOST_COMPRESSION = 1.35  # as in OpenAI's and transformers' long-form decoding, on tokens
MOST_SILENCE = 0.5
ALIKE = 1e-4  # features of zeros differ by their rounding
# What is all of its recording and holds no speech: unlikely words where there are probably none. Whisper-base: silence, noise and tones have 0.8 and more.
NOTHING_SAID = Thresholds(no_speech_threshold=0.6, logprob_threshold=LEAST_LOG_PROB)


@dataclass(frozen=True)
class ShortWindows:
    """hear: what hears windows of one length. once: the same without its further temperatures. full: frames of a whole window."""

    hear: Callable[[Sequence[Window]], list[Heard]]
    once: Callable[[Sequence[Window]], list[Heard]]
    full: int
    vocabulary: Vocabulary

    def __call__(self, windows: Sequence[Window]) -> list[Heard]:
        """What is heard in each, in their order."""
        found: dict[int, Heard] = {}
        lengths = [self._length(window) for window in windows]
        for length in sorted({length for length in lengths if length < self.full}):
            places = [place for place, one in enumerate(lengths) if one == length]
            short = [replace(windows[place], features=windows[place].features[:, :length]) for place in places]
            found |= {
                place: heard for place, heard in zip(places, self.once(short), strict=True) if not self._is_doubtful(heard, windows[place].frames)
            }
        rest = [place for place in range(len(windows)) if place not in found]
        if rest:
            found |= dict(zip(rest, self.hear([windows[place] for place in rest]), strict=True))
        return [_without_words(found[place]) if _is_digital_silence(window) else found[place] for place, window in enumerate(windows)]

    def _length(self, window: Window) -> int:
        if not window.alone:
            return self.full
        wanted = max(FLOOR, window.frames + MARGIN)
        return min(self.full, -(-wanted // STEP) * STEP)

    def _is_doubtful(self, heard: Heard, frames: int) -> bool:
        """Whether a transcript may be an artefact of the short window: unlikely, in circles, without end, empty, or told to go on after the sound."""
        if heard.stopped:
            return False
        vocabulary = self.vocabulary
        times = [token - vocabulary.first_time for token in heard.tokens if token >= vocabulary.first_time] if vocabulary.no_timestamps else []
        return (
            heard.tokens[-1] != vocabulary.end
            or heard.avg_logprob < LEAST_LOG_PROB
            or heard.compression_ratio(vocabulary.size) > MOST_COMPRESSION
            or heard.no_speech_prob > MOST_SILENCE
            or not any(token < vocabulary.end for token in heard.tokens)
            or any(2 * time > frames + MARGIN for time in times)
        )


def _is_digital_silence(window: Window) -> bool:
    """All of a recording, in which no sample differs from zero: Whisper hears a word there, and is sure of it."""
    return window.alone and float(np.ptp(window.features)) < ALIKE


def _without_words(heard: Heard) -> Heard:
    return replace(heard, tokens=(), log_probs=(), times=(), others=tuple(map(_without_words, heard.others)))
