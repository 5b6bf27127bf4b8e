"""Which recordings are heard in a short window, and when the whole one is heard after all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from zen_edge.runtimes.speech.prompts import Prompt, Vocabulary
from zen_edge.runtimes.speech.sequential import Plan, Whole, recording
from zen_edge.runtimes.speech.short_windows import FLOOR, MARGIN, NOTHING_SAID, STEP, ShortWindows
from zen_edge.runtimes.speech.windows import Heard, Thresholds, Window

VOCABULARY = Vocabulary(start=50, end=49, languages={}, tasks={}, no_timestamps=60, previous=None, size=1600, multilingual=None)
GOOD = Heard(tokens=(1, 2, 3, 49), score=-0.1, log_probs=(-0.1,) * 4, avg_logprob=-0.1, no_speech_prob=0.01, temperature=0.0)


def window(frames: int, *, alone: bool = True) -> Window:
    features = np.zeros((2, 3000), np.float32)
    features[0, :frames] = 1
    return Window(features, (50, 60), frames, alone)


class Ears:
    """Hears `answer`, and remembers the lengths of the windows it was given."""

    def __init__(self, answer: Heard) -> None:
        self.answer, self.heard = answer, list[list[int]]()

    def __call__(self, windows):
        self.heard.append([one.features.shape[1] for one in windows])
        return [replace(self.answer, score=float(one.frames)) for one in windows]


def heard_by(once: Heard, *windows: Window) -> tuple[list[Heard], list[list[int]], list[list[int]]]:
    short, whole = Ears(once), Ears(GOOD)
    return ShortWindows(whole, short, 3000, VOCABULARY)(list(windows)), short.heard, whole.heard


def test_recordings_of_like_length_are_heard_side_by_side_and_in_order():
    given = [window(frames) for frames in (1990, 100, 700, 1995, 2990)] + [window(50, alone=False)]
    found, short, whole = heard_by(GOOD, *given)
    assert [one.score for one in found] == [one.frames for one in given]
    assert short == [[FLOOR, FLOOR], [2200, 2200]]
    assert whole == [[3000, 3000]]  # too long, and a part of something longer
    assert all(length % STEP == 0 and length >= frames + MARGIN for frames, length in ((700, FLOOR), (1995, 2200)))


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": (1, 2, 3)},  # no end
        {"tokens": (49,)},  # nothing said
        {"tokens": (*(1, 2) * 60, 49)},  # in circles
        {"avg_logprob": -0.9},
        {"no_speech_prob": 0.8},
        {"tokens": (61, 1, 2, 61 + 400, 49)},  # until 8 s, of 3 s of sound
    ],
    ids=str,
)
def test_what_looks_doubtful_is_heard_again_in_full(change):
    found, short, whole = heard_by(replace(GOOD, **change), window(300))
    assert (short, whole) == ([[FLOOR]], [[3000]])
    assert found[0].tokens == GOOD.tokens


def test_in_zeros_nothing_is_said():
    silence = replace(window(300), features=np.full((2, 3000), -1.5, np.float32) - window(300).features * np.float32(2e-7))
    sure = replace(GOOD, others=(GOOD,))
    found, short, _ = heard_by(sure, silence, window(300), replace(silence, alone=False))
    assert short == [[FLOOR, FLOOR]]
    assert [one.tokens for one in found] == [(), GOOD.tokens, GOOD.tokens]
    assert [one.tokens for one in found[0].others] == [()]


def test_times_within_the_sound_are_believed():
    found, _, whole = heard_by(replace(GOOD, tokens=(61, 1, 2, 61 + 150, 49)), window(300))
    assert whole == []
    assert found[0].tokens[0] == 61


@pytest.mark.parametrize(
    ("change", "silent"), [({"no_speech_prob": 0.9, "avg_logprob": -0.8}, True), ({"no_speech_prob": 0.9}, False), ({"avg_logprob": -0.8}, False)]
)
@pytest.mark.parametrize("frames", [3000, 4000])
def test_what_holds_no_speech_has_no_text(change, silent, frames):
    """Of a recording that one window holds; for longer ones the caller's own thresholds stand."""
    plan = Plan(VOCABULARY, Thresholds(), 3000, 448, alone=NOTHING_SAID)
    hearing = recording(Whole(np.zeros((2, frames), np.float32)), frames, Prompt((50, 60)), plan)
    next(hearing)
    with pytest.raises(StopIteration) as end:
        while True:
            hearing.send(replace(GOOD, **change))
    assert bool(end.value.value.pieces) is not (silent and frames == 3000)
