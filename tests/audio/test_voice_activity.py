"""Where speech is found, that blocks of any length find the same, and the rules that make segments of probabilities."""

import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from zen_edge.errors import AudioError, OptionError
from zen_edge.runtimes.audio import read_audio
from zen_edge.runtimes.audio.voice_activity import FRAME, RATE, Rules, Speech, VoiceActivity, _Spans, windows

CLIP = Path(__file__).parents[1] / "data" / "speech.flac"  # one sentence of benchmarks/make_speech.py; its sound begins and ends at
SOUNDS = (0.24, 3.52)


@pytest.fixture(scope="module")
def detector():
    return VoiceActivity()


@pytest.fixture(scope="module")
def clip():
    return read_audio(CLIP, None, RATE)


def noise(seconds, loudness=0.002, seed=0):
    return np.random.default_rng(seed).normal(0, loudness, int(seconds * RATE)).astype(np.float32)


@pytest.fixture(scope="module")
def recording(clip):
    """Three sentences with pauses, and where each sounds."""
    parts, places, at = [], [], 0.0
    for pause in (2.0, 1.0, 4.0):
        parts += [noise(pause, seed=len(parts)), clip]
        places.append((at + pause + SOUNDS[0], at + pause + SOUNDS[1]))
        at += pause + len(clip) / RATE
    return np.concatenate([*parts, noise(1.5)]), places


def test_sentences_between_pauses(detector, recording):
    sound, places = recording
    found = list(detector.segments([sound]))
    assert len(found) == len(places)
    for speech, (start, end) in zip(found, places, strict=True):
        assert 0 < start - speech.start < 0.35
        assert -0.05 < speech.end - end < 0.45


@pytest.mark.parametrize("loudness", [0.03, 0.3, 2.0])
def test_loudness_hardly_matters(detector, recording, loudness):
    sound, places = recording
    assert len(list(detector.segments([sound * np.float32(loudness)]))) == len(places)


@pytest.mark.parametrize("kind", ["silence", "noise", "loud noise", "tone", "clicks", "nothing"])
def test_what_is_no_speech(detector, kind):
    time = np.arange(8 * RATE) / RATE
    sounds = {
        "silence": np.zeros(8 * RATE),
        "noise": noise(8),
        "loud noise": noise(8, 0.2),
        "tone": 0.3 * np.sin(2 * np.pi * 440 * time),
        "clicks": (np.arange(8 * RATE) % 9000 == 0).astype(float),
        "nothing": np.zeros(0),
    }
    assert list(detector.segments([sounds[kind].astype(np.float32)])) == []


@pytest.mark.parametrize("size", [1, 100, 511, 513, 16000, 200_000])
def test_blocks_of_any_length_find_the_same(detector, recording, size):
    sound = recording[0] if size > 1 else recording[0][: 3 * RATE]
    whole = np.concatenate(list(detector.probabilities([sound])))
    blocks = [sound[start : start + size] for start in range(0, len(sound), size)]
    given = np.concatenate(list(detector.probabilities(blocks)))
    assert len(whole) == -(-len(sound) // FRAME)
    assert np.abs(given - whole).max() < 1e-5
    assert list(detector.segments(blocks)) == list(detector.segments([sound]))


def test_a_segment_comes_as_soon_as_it_has_ended(detector, recording):
    sound, places = recording
    read = []

    def blocks():
        for start in range(0, len(sound), RATE):
            read.append(start / RATE)
            yield sound[start : start + RATE]

    first = next(iter(detector.segments(blocks())))
    assert first.end < places[1][0]
    assert max(read) < places[1][0] + 9  # frames are read some at a time


def test_sound_that_begins_and_ends_in_speech(detector, clip):
    middle = clip[int(0.8 * RATE) : int(2.9 * RATE)]
    ((start, end),) = detector.segments([middle])
    assert start < 0.2
    assert end == pytest.approx(len(middle) / RATE)


def test_long_sound_takes_little_memory(detector, clip):
    block = np.tile(clip, 3)[: 10 * RATE]
    list(detector.segments([block]))
    tracemalloc.start()
    count = sum(1 for _ in detector.segments(itertools.repeat(block, 30), Rules(longest=20)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count >= 15
    assert peak < 8e6  # the 300 s are 19 MB


def spans(probabilities, at=(), **rules):
    """at: where what is fed is divided."""
    found = _Spans(Rules(**rules))
    parts = np.split(np.array(probabilities, np.float32), at)
    return [*itertools.chain.from_iterable(found.feed(part) for part in parts), *found.finish()]


def test_segments_hold_all_speech_apart_and_no_longer_than_asked():
    """Random probabilities in runs, by the rules as they are told."""
    rng = np.random.default_rng(1)
    cut = 0
    for _ in range(300):
        levels = np.repeat(rng.choice([0.05, 0.4, 0.9], 60), rng.integers(1, 30, 60))
        values = np.clip(levels + rng.normal(0, 0.02, len(levels)), 0, 1)
        rules = Rules(longest=float(rng.choice([2.0, 5.0])))
        found = spans(values, [100], longest=rules.longest)
        most = int((rules.longest - 2 * rules.margin) * RATE / FRAME)
        covered = np.zeros(len(values), bool)
        for span in found:
            assert span.start < span.end <= len(values)
            assert span.end - span.start <= most
            assert not covered[span.start : span.end].any()
            covered[span.start : span.end] = True
            assert values[span.start] >= 0.5 or span.cut_start
        for one, after in itertools.pairwise(found):
            assert after.start - one.end >= round(0.5 * RATE / FRAME) or (one.end == after.start and one.cut_end and after.cut_start)
            cut += one.cut_end
        loud = values >= 0.5
        edges = np.flatnonzero(np.diff(np.concatenate([[0], loud, [0]])))
        for start, end in edges.reshape(-1, 2):
            if end - start >= round(0.25 * RATE / FRAME):  # a shorter one may be a click
                assert covered[start:end].all()
    assert cut > 100


def test_a_long_segment_is_cut_at_its_least_likely_frame():
    values = [0.9] * 240
    values[80], values[150] = 0.5, 0.6
    first, second, *rest = spans(values, longest=4.4)  # 125 frames
    assert (first.start, first.end, first.cut_end) == (0, 80, True)
    assert (second.start, second.end, second.cut_start) == (80, 150, True)
    assert [(one.start, one.end) for one in rest] == [(150, 240)]


def test_clicks_and_short_pauses():
    assert spans([0.0] * 10 + [0.9] * 5 + [0.0] * 40) == []
    assert [(one.start, one.end) for one in spans([0.9] * 20 + [0.0] * 10 + [0.9] * 20 + [0.0] * 40)] == [(0, 50)]
    assert [(one.start, one.end) for one in spans([0.9] * 20 + [0.4] * 60 + [0.0] * 40)] == [(0, 80)]  # between the thresholds it goes on


def test_windows():
    segments = [Speech(0, 8), Speech(9, 20), Speech(21, 31), Speech(32, 70), Speech(71, 72)]
    found = list(windows(segments, 30))
    assert found == [tuple(segments[:2]), (segments[2],), (segments[3],), (segments[4],)]
    assert list(windows([], 30)) == []


@pytest.mark.parametrize(
    ("rules", "message"),
    [({"threshold": 0.1}, "threshold must lie"), ({"margin": 0.4}, "margin must be at most half"), ({"longest": 0.5}, "longest must be at least")],
)
def test_rules_that_cannot_be_held(rules, message):
    with pytest.raises(OptionError, match=message):
        Rules(**rules)


@pytest.mark.parametrize("block", [np.zeros((5, 2), np.float32), np.zeros(5), [0.0, 0.1]], ids=["stereo", "float64", "list"])
def test_what_is_no_block_of_sound(detector, block):
    with pytest.raises(AudioError, match=r"float32 arrays \(samples,\) at 16000 Hz; given was"):
        list(detector.segments([block]))
