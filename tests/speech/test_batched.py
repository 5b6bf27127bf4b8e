"""Long recordings cut at their silences: where the cuts are, and times on the recording's clock."""

from __future__ import annotations

import numpy as np
import pytest

from zen_edge.errors import OptionError
from zen_edge.runtimes.audio.log_mel import LogMel
from zen_edge.runtimes.audio.voice_activity import Speech
from zen_edge.runtimes.speech.batched import Part, _cut, hear_parts
from zen_edge.runtimes.speech.prompts import Prompt, Vocabulary
from zen_edge.runtimes.speech.sequential import Plan
from zen_edge.runtimes.speech.windows import Heard, Thresholds

from .conftest import RATE

VOCABULARY = Vocabulary(
    start=50, end=49, languages={"<|en|>": 51, "<|fr|>": 52}, tasks={}, no_timestamps=60, previous=None, size=1600, multilingual=True
)
PLAN = Plan(VOCABULARY, Thresholds(), 300, 448)
MEL = LogMel(80, 400, 160, RATE)


@pytest.mark.parametrize("block", [1000, 7001, 16000, 10**6])
def test_parts_are_cut_out_of_any_blocks(block):
    audio = np.arange(16000 * 9, dtype=np.float32)
    stretches = [Speech(0.0, 1.5), Speech(1.5, 2.0), Speech(4.25, 9.0)]
    found = list(_cut((audio[at : at + block] for at in range(0, len(audio), block)), stretches, RATE))
    assert [part.start for part in found] == [0.0, 1.5, 4.25]
    for part, (start, end) in zip(found, stretches, strict=True):
        np.testing.assert_array_equal(part.audio, audio[round(start * RATE) : round(end * RATE)])


class Ears:
    """In every window a word that says how many of its frames are sound, until 1 s and from there on another one without an end."""

    def __init__(self) -> None:
        self.starts: list[tuple[int | None, ...]] = []
        self.together: list[int] = []

    def __call__(self, windows):
        self.together.append(len(windows))
        self.starts += [window.start for window in windows]
        language = 52 if None in windows[0].start else None
        tokens = [(61, window.frames // 10, 61 + 50, 61 + 50, 7, 61 + 100, 49) for window in windows]
        return [Heard(each, -1.0, (-0.1,) * 7, -0.1, 0.0, 0.0, language) for each in tokens]


def parts(*lengths: float) -> list[Part]:
    return [Part(10.0 * place, np.ones(int(seconds * RATE), np.float32)) for place, seconds in enumerate(lengths)]


def test_times_are_on_the_clock_of_the_recording():
    ears = Ears()
    found = hear_parts(iter(parts(2.0, 1.2, 3.0)), ears, MEL, Prompt((50, 51)), PLAN, 2)
    assert [(piece.start, piece.end) for piece in found.pieces] == [(0, 1), (1, 2), (10, 11), (11, 11.2), (20, 21), (21, 22)]
    assert [piece.tokens[1] for piece in found.pieces][::2] == [20, 12, 30]
    assert [piece.offset for piece in found.pieces] == [0, 0, 10, 10, 20, 20]
    assert max(ears.together) == 2


def test_the_first_part_tells_the_language_of_all():
    ears = Ears()
    found = hear_parts(iter(parts(1.0, 1.0, 1.0, 1.0)), ears, MEL, Prompt((50, None)), PLAN, 8)
    assert ears.starts == [(50, None), (50, 52), (50, 52), (50, 52)]
    assert ears.together == [1, 3]
    assert VOCABULARY.language_of(found.start) == "fr"


def test_nobody_speaks():
    found = hear_parts(iter(()), Ears(), MEL, Prompt((50, None)), PLAN, 8)
    assert (found.pieces, found.windows) == ((), ())


@pytest.mark.parametrize(
    ("options", "said"),
    [({"window": "half"}, "auto, full"), ({"batched": 3}, "true or false"), ({"batched": True, "condition_on_prev_tokens": True}, "leave one out")],
    ids=str,
)
def test_options_that_cannot_be_held(pipeline, sounds, options, said):
    with pytest.raises(OptionError, match=said):
        pipeline(sounds(1.0, 0), sampling_rate=RATE, **options)


def test_a_long_recording_without_speech_has_no_text(pipeline):
    found = pipeline.generate(np.zeros(RATE * 70, np.float32), sampling_rate=RATE, batched=True)[0][0]
    assert (found.text, found.tokens, found.segments) == ("", (), ())


def test_short_recordings_are_heard_as_ever(pipeline, sounds):
    audio = sounds(2.0, 1)
    given = pipeline.generate(audio, sampling_rate=RATE, batched=True, temperature=0)
    assert given == pipeline.generate(audio, sampling_rate=RATE, return_timestamps=True)


def test_a_text_is_a_transcript_though_the_checkpoint_names_no_task(pipeline, sounds):
    audio = sounds(2.0, 1)
    assert not pipeline.manifest.generation.get("forced_decoder_ids")
    transcribed = pipeline.generate(audio, sampling_rate=RATE, task="transcribe")[0][0]
    assert pipeline(audio, sampling_rate=RATE) == transcribed.text
    assert pipeline.generate(audio, sampling_rate=RATE)[0][0].text != transcribed.text
