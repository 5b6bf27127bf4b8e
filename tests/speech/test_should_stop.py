"""`should_stop` where speech is heard: asked after each step, and what was heard so far is the answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zen_edge.runtimes.audio import read_audio
from zen_edge.runtimes.pipelines.progress import Progress
from zen_edge.runtimes.pipelines.transcription import Pipeline

from .conftest import RATE

ENGLISH = {"sampling_rate": RATE, "language": "en", "window": "full"}


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"num_beams": 2, "num_return_sequences": 2}, {"temperature": 0.8, "seed": 1}], ids=str)
def test_what_there_is_so_far_is_what_the_length_would_cut(pipeline, sounds, options):
    audio, first_time = sounds(2.0, 1), pipeline.manifest.generation["no_timestamps_token_id"] + 1
    options = {**options, "suppress_tokens": list(range(first_time, pipeline.manifest.limits["vocab_size"]))}  # one window
    stopped = pipeline.generate(audio, should_stop=lambda progress: progress.steps == 4, **ENGLISH, **options)[0]
    cut = pipeline.generate(audio, max_new_tokens=4, **ENGLISH, **options)[0]
    assert [(one.tokens, one.text) for one in stopped] == [(one.tokens, one.text) for one in cut]
    assert [one.score for one in stopped] == pytest.approx([one.score for one in cut], abs=1e-5)
    assert len(stopped) == options.get("num_return_sequences", 1)


CASES = (
    (2.0, {}, 5),
    (2.0, {"segments": True}, 40),
    (31.0, {}, 70),  # in the second window, as all below 61
    (2.0, {"words": True}, 66),
    (2.0, {"window": "auto"}, 5),
    (2.0, {"window": "auto"}, 66),  # when the whole window is heard
    (2.0, {"temperature": (0.0, 0.4), "logprob_threshold": 0.0, "seed": 1}, 66),
    (2.0, {"num_beams": 2, "return_timestamps": True}, 9),
)


@pytest.mark.parametrize(("seconds", "options", "at"), CASES, ids=str)
def test_the_answer_is_what_was_shown_last(pipeline, sounds, seconds, options, at):
    audio, shown = sounds(seconds, 1), list[tuple[tuple[int, ...], str]]()

    def stop(progress: Progress) -> bool:
        assert progress.inputs == (0,)
        shown.append((progress.tokens()[0], progress.texts()[0]))
        return len(shown) == at

    found = pipeline.generate(audio, should_stop=stop, **{**ENGLISH, **options})[0][0]
    assert len(shown) == at and found.tokens
    assert (found.tokens, found.text) == shown[-1]
    told = tuple(token for one in found.segments for token in one.tokens)
    assert told == (found.tokens if options.keys() & {"segments", "words", "return_timestamps"} or seconds > 30 else ())
    assert all(one.start <= one.end for one in found.segments)


def test_nothing_changes_where_it_never_says_so(pipeline, sounds):
    audio = [sounds(2.0, 1), sounds(31.0, 2)]
    seen: list[Progress] = []
    whole = pipeline.generate(audio, should_stop=lambda progress: seen.append(progress), max_new_tokens=9, **ENGLISH)
    assert whole == pipeline.generate(audio, max_new_tokens=9, **ENGLISH)
    assert {progress.inputs for progress in seen} == {(0,), (1,)}


def test_recordings_that_had_not_begun_have_no_text(pipeline, sounds, monkeypatch):
    monkeypatch.setattr(Pipeline, "_together", lambda self: 2)
    audio = [sounds(1.0, seed) for seed in range(3)] + ["none.wav", sounds(31.0, 4)]
    calls: list[tuple[int, ...]] = []
    found = pipeline.generate_each(audio, should_stop=lambda progress: calls.append(progress.inputs) or len(calls) == 3, **ENGLISH)
    assert calls == [(0, 1)] * 3
    assert [len(one.tokens) for (one,) in found] == [3, 3, 0, 0, 0]
    assert [one.text for (one,) in found] == [pipeline.decode(one.tokens) for (one,) in found]
    several = pipeline.generate(audio[:3], num_beams=2, num_return_sequences=2, should_stop=lambda progress: True, **ENGLISH)
    assert [len(results) for results in several] == [2, 2, 2]


def test_prompts_of_different_lengths_are_not_begun_either(pipeline, sounds):
    """Windows whose decoders start from unlike many tokens are heard one after the other."""
    audio = [sounds(33.0, 1), sounds(2.0, 1)]
    options = {**ENGLISH, "segments": True, "condition_on_prev_tokens": True}
    calls: list[tuple[int, ...]] = []
    pipeline.generate(audio, should_stop=lambda progress: calls.append(progress.inputs), **options)
    first = calls.index((0,)) + 2
    calls.clear()
    found = pipeline.generate(audio, should_stop=lambda progress: calls.append(progress.inputs) or len(calls) == first, **options)
    assert len(calls) == first and all(one.text for (one,) in found)


@pytest.mark.sweep
def test_a_recording_in_parts(pipeline):
    clip = read_audio(Path(__file__).parents[1] / "data" / "speech.flac", None, RATE)
    audio = np.tile(np.concatenate([clip, np.zeros(RATE, np.float32)]), 20)
    options = {**ENGLISH, "batched": True, "temperature": 0.0}
    calls: list[tuple[int, ...]] = []
    whole = pipeline.generate([audio, audio], **options)
    found = pipeline.generate([audio, audio], should_stop=lambda progress: calls.append(progress.inputs) or len(calls) == 5, **options)
    assert set(calls) == {(0,) * len(calls[0])} and len(calls) == 5
    assert 0 < len(found[0][0].tokens) < len(whole[0][0].tokens)
    assert (found[1][0].tokens, found[1][0].text) == ((), "")


def test_what_it_raises_reaches_the_caller(pipeline, sounds):
    with pytest.raises(ZeroDivisionError):
        pipeline(sounds(1.0), max_new_tokens=2, should_stop=lambda progress: 1 // 0, **ENGLISH)
