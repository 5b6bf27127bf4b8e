"""Speech heard while it comes: each stretch as a recording by itself, whatever the blocks, in memory that does not grow."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from zen_edge.errors import AudioError, OptionError, ZenEdgeError
from zen_edge.runtimes.audio import read_audio
from zen_edge.runtimes.audio.voice_activity import Rules, VoiceActivity
from zen_edge.runtimes.speech.live import Live, live_rules
from zen_edge.runtimes.speech.transcript import Segment, Transcript, Word

from .conftest import RATE

CLIP = Path(__file__).parents[1] / "data" / "speech.flac"
ENDS = 3.52  # where its sound does
ENGLISH = {"sampling_rate": RATE, "language": "en", "max_new_tokens": 8, "window": "full"}


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.002, int(seconds * RATE)).astype(np.float32)


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return read_audio(CLIP, None, RATE)


@pytest.fixture(scope="module")
def talk(clip) -> np.ndarray:
    """Three sentences and a fourth that breaks off with the sound."""
    return np.concatenate([noise(1.3), clip, noise(2.0, 1), clip, noise(0.9, 2), clip, noise(0.7, 3), clip[: 2 * RATE]])


@pytest.fixture(scope="module")
def whole(pipeline, talk) -> list[Segment]:
    """What is told of the talk, given at once."""
    return list(pipeline.stream([talk], **ENGLISH))


def same(found: list[Segment], expected: list[Segment]) -> bool:
    return list(map(repr, found)) == list(map(repr, expected))  # there are NaNs in them


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"segments": True, "words": True},
        pytest.param({"num_beams": 2, "pause": 0.8, "longest": 3.0, "task": "translate", "window": "auto"}, marks=pytest.mark.sweep),
    ],
    ids=str,
)
def test_every_stretch_of_speech_is_heard_as_by_itself(pipeline, talk, options):
    own = {name: value for name, value in options.items() if name not in ("pause", "longest")}
    rules = Rules(least_silence=options.get("pause", 0.5), longest=options.get("longest", 15.0))
    expected: list[Segment] = []
    for start, end in VoiceActivity().segments([talk], rules):
        best = pipeline.generate(talk[round(start * RATE) : round(end * RATE)], **{"task": "transcribe", **ENGLISH, **own})[0][0]
        told = best.segments or (Segment(0.0, end - start, best.text, best.tokens, best.score, np.nan),)
        expected += [one.moved(start, end) for one in told if one.text.strip()]
    found = list(pipeline.stream(np.split(talk, range(1600, len(talk), 1600)), **{**ENGLISH, **options}))
    assert same(found, expected)
    assert len(found) >= 4 and len({one.text for one in found}) > 2
    assert all(0 <= one.start <= one.end <= len(talk) / RATE for one in found)
    assert [one.start for one in found] == sorted(one.start for one in found)
    assert all(0 <= word.start <= word.end <= len(talk) / RATE for one in found for word in one.words)


def test_blocks_of_any_size_give_the_same(pipeline, talk, whole):
    live = pipeline.live(**ENGLISH)
    sizes = np.random.default_rng(0).choice([0, 1, 1, 160, 512, 8000, 70_000], 40)
    fed = [live.feed(block) for block in np.split(talk, np.cumsum(sizes))]
    assert same([*itertools.chain(*fed), *live.finish()], whole)
    assert whole and live.finish() == []
    with pytest.raises(ZenEdgeError, match="ended"):
        live.feed(talk)


def test_stereo_at_another_rate(pipeline, talk, whole):
    stereo = np.stack([np.repeat(talk, 3), np.repeat(talk, 3)], axis=1)
    found = list(pipeline.stream(np.array_split(stereo, 101), **{**ENGLISH, "sampling_rate": 3 * RATE}))
    assert len(found) == len(whole)
    np.testing.assert_allclose([(one.start, one.end) for one in found], [(one.start, one.end) for one in whole], atol=0.1)


def test_a_pause_settles_what_was_said(pipeline, clip):
    """In seconds of the stream: half a second of silence, a quarter that the detector looks at together, and how slowly speech fades for it."""
    sound = np.concatenate([clip, noise(5.0)])
    settled = {}
    for pause in (0.5, 1.0):
        live = pipeline.live(pause=pause, **ENGLISH)
        settled[pause] = next(at for at in range(1600, len(sound), 1600) if live.feed(sound[at - 1600 : at])) / RATE - ENDS
    assert 0.5 < settled[0.5] < 1.2
    assert settled[1.0] < 1.7


def test_a_limit_settles_what_is_said_without_a_pause(clip):
    unbroken = np.tile(clip[int(0.8 * RATE) : int(2.9 * RATE)], 12)
    heard: list[int] = []
    live = Live(lambda audio: heard.append(len(audio)) or said(" a"), RATE, RATE, live_rules(0.5, 4.0, 30.0))
    found = []
    for start in range(0, len(unbroken), 1600):
        found += [(one, start + 1600) for one in live.feed(unbroken[start : start + 1600])]
    assert len(found) >= 4
    assert all(at / RATE - one.start <= 4.3 for one, at in found)
    assert [one.end for one, _ in found[:-1]] == [one.start for one, _ in found[1:]]
    live.finish()
    assert sum(heard) == pytest.approx(len(unbroken), abs=0.5 * RATE)  # each sample once


def said(text: str) -> Transcript:
    return Transcript(text, (1,), -0.1)


@pytest.mark.parametrize("kind", ["silence", "speech"])
def test_memory_does_not_grow(clip, kind):
    block = {"silence": np.zeros(10 * RATE, np.float32), "speech": np.tile(clip[int(0.8 * RATE) : int(2.9 * RATE)], 5)}[kind]
    heard = []
    live = Live(lambda audio: heard.append(len(audio)) or said(" a"), 2 * RATE, RATE, live_rules(0.5, 10.0, 30.0))
    live.feed(block)
    tracemalloc.start()
    count = sum(len(live.feed(block)) for _ in range(24))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6e6  # 240 s are 15 MB at the model's rate
    assert (count > 8) == bool(heard) == (kind == "speech")


def test_silence_is_not_heard():
    live = Live(lambda audio: pytest.fail("heard"), RATE, RATE, live_rules(0.5, 15.0, 30.0))
    for seed in range(5):
        assert live.feed(noise(3.0, seed)) == []
    assert live.finish() == []


@pytest.mark.parametrize("blocks", [[], [np.zeros(0, np.float32)] * 3, [np.zeros(1, np.float32)], [np.zeros((0, 2), np.int16)]], ids=len)
def test_hardly_any_sound(pipeline, blocks):
    assert list(pipeline.stream(blocks, sampling_rate=44100)) == []


def test_a_bad_block_is_told_and_the_stream_goes_on(pipeline, talk, whole):
    live = pipeline.live(**ENGLISH)
    found = live.feed(talk[:70_000])
    with pytest.raises(AudioError, match=r"the block at 4\.38 s of the stream: the audio holds numbers that are not finite"):
        live.feed(np.array([0.0, np.nan], np.float32))
    assert same([*found, *live.feed(talk[70_000:]), *live.finish()], whole)
    with pytest.raises(AudioError, match="given was a list"):
        list(pipeline.stream([[0.0]], **ENGLISH))


def test_the_first_words_tell_the_language(pipeline, clip, monkeypatch):
    asked = []
    answers = type(pipeline)._answers
    monkeypatch.setattr(
        type(pipeline), "_answers", lambda self, inputs, options: asked.append(options.get("language")) or answers(self, inputs, options)
    )
    found = list(pipeline.stream([np.concatenate([clip, noise(1), clip])], sampling_rate=RATE, max_new_tokens=8))
    monkeypatch.undo()
    language = pipeline.generate(clip, sampling_rate=RATE, task="transcribe", max_new_tokens=8)[0][0].language
    assert language is not None and asked == [None, None, language]  # the first is of the options alone
    assert len(found) == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"langauge": "en"}, "did you mean language"),
        ({"batched": True}, "batched is for recordings"),
        ({"condition_on_prev_tokens": True}, "each by itself"),
        ({"token_log_probs": True}, "each by itself"),
        ({"num_return_sequences": 2, "num_beams": 2}, "each by itself"),
        ({"should_stop": 3}, "must be a function"),
        ({"pause": -1.0}, "pause|margin"),
        ({"pause": "long"}, "pause"),
        ({"longest": 31.0}, "30 s that the model hears at once"),
        ({"longest": 0.5}, "longest must be at least"),
    ],
    ids=str,
)
def test_options_are_looked_at_before_any_sound(pipeline, options, says):
    with pytest.raises(OptionError, match=says):
        pipeline.stream(iter(()), sampling_rate=RATE, **options)


def test_a_stream_ends_where_its_caller_says_so(pipeline, talk, whole):
    begun: list[bool] = []

    def third_step_of_the_second(progress):
        begun.append(len(progress.tokens()[0]) == 1)
        return progress.steps == 3 and sum(begun) == 2

    read: list[int] = []
    blocks = (read.append(start) or talk[start : start + RATE] for start in range(0, len(talk), RATE))
    found = list(pipeline.stream(blocks, **ENGLISH, should_stop=third_step_of_the_second))
    assert same(found[:1], whole[:1]) and len(found) == 2
    assert found[1].tokens == whole[1].tokens[:3]
    assert len(read) < len(talk) // RATE
    live = pipeline.live(**ENGLISH, should_stop=lambda progress: progress.texts()[0])
    (only,) = live.feed(talk)
    assert only.text and only.tokens == whole[0].tokens[: len(only.tokens)] and live.ended and live.finish() == []
    with pytest.raises(ZenEdgeError, match="ended"):
        live.feed(talk)


def test_times_move_to_the_clock_of_the_stream():
    word = Word(" a", 0.5, 3.0, 0.9)
    found = Segment(0.1, 3.0, " a", (1,), -0.1, 0.0, 0.0, (word,)).moved(10.0, 12.5)
    assert (found.start, found.end) == (10.1, 12.5)
    assert [(one.start, one.end) for one in found.words] == [(10.5, 12.5)]
