"""Tokens, times and probabilities of a tiny Whisper, against `model.generate`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from zen_edge.runtimes.pipelines.transcription import Pipeline
from zen_edge.runtimes.speech.sequential import Piece

from .conftest import RATE, without_end

CASES: tuple[dict[str, Any], ...] = (
    {},
    {"language": "english"},
    {"language": "<|fr|>", "task": "translate"},
    {"language": "ja", "num_beams": 3, "length_penalty": 0.5},
    {"return_timestamps": True},
    {"task": "transcribe", "return_timestamps": True, "num_beams": 2},
    {"language": "fr", "max_new_tokens": 5},
    {"language": "en", "suppress_tokens": list(range(200)), "begin_suppress_tokens": [250]},
    {"language": "en", "no_repeat_ngram_size": 2, "repetition_penalty": 1.3, "return_timestamps": True},
)


@pytest.mark.parametrize("options", CASES, ids=str)
def test_tokens(pipeline, theirs, sounds, options):
    for seed, seconds in enumerate((2.0, 0.4)):
        audio = sounds(seconds, seed)
        found = pipeline.generate(audio, sampling_rate=RATE, **options)[0][0]
        expected = theirs.generate(audio, **options)
        assert without_end(found.tokens, pipeline.manifest.generation["eos_token_id"]) == expected
        assert found.text == theirs.tokenizer.decode(expected, skip_special_tokens=True)
        assert len(set(expected)) > 3


def test_languages_are_told(pipeline, theirs, sounds):
    heard = [pipeline.generate(sounds(2.0, seed), sampling_rate=RATE)[0][0].language for seed in range(4)]
    codes = {id: token.strip("<|>") for token, id in theirs.model.generation_config.lang_to_id.items()}
    with torch.no_grad():
        ids = [theirs.model.detect_language(theirs.features(sounds(2.0, seed)).input_features).item() for seed in range(4)]
    assert heard == [codes[id] for id in ids]
    assert pipeline.generate(sounds(2.0, 0), sampling_rate=RATE, language="French")[0][0].language == "fr"


def test_a_prompt(pipeline, theirs, sounds):
    ids = theirs.tokenizer.get_prompt_ids("The  test of é", return_tensors="pt")
    audio = sounds(1.0, 1)
    for options in ({"language": "en"}, {"language": "en", "return_timestamps": True}):
        expected = theirs.generate(audio, prompt_ids=ids, **options)
        assert expected != theirs.generate(audio, **options)
        for given in ({"prompt": "The  test of é"}, {"prompt_ids": ids.tolist()}, {"prompt_ids": ids.numpy()}):
            found = pipeline.generate(audio, sampling_rate=RATE, **given, **options)[0][0]
            assert without_end(found.tokens, theirs.model.generation_config.eos_token_id) == expected


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"return_timestamps": True}], ids=str)
def test_times_of_tokens(pipeline, theirs, sounds, options, monkeypatch):
    """Of the first window: in later ones, which are of padding, transformers counts frames below zero."""
    audio = sounds(25.0, 2)
    inputs = theirs.features(audio)
    with torch.no_grad():
        expected = theirs.model.generate(
            inputs.input_features, attention_mask=inputs.attention_mask, language="en", return_token_timestamps=True, **options
        )
    pieces: list[Piece] = []
    monkeypatch.setattr(Pipeline, "_words", lambda self, piece, language: pieces.append(piece) or ())  # words leave the times of single tokens out
    pipeline.generate(audio, sampling_rate=RATE, language="en", words=True, **{"return_timestamps": False, **options})
    first = [piece for piece in pieces if piece.offset == 0]
    times = [time for piece in first for time in piece.heard.times[piece.first : piece.first + len(piece.tokens)]]
    assert [token for piece in first for token in piece.tokens] == expected["sequences"][0][: len(times)].tolist()
    np.testing.assert_allclose(times, expected["token_timestamps"][0][: len(times)], atol=0.04)
    assert len(times) > 5 and times[-1] > 1


def test_words_and_segments(pipeline, sounds):
    audio = sounds(6.0, 2)
    whole = {"language": "en", "sampling_rate": RATE, "suppress_tokens": [id for id in range(300) if "\ufffd" in pipeline.decode([id])]}
    found = pipeline.generate(audio, words=True, token_log_probs=True, **whole)[0][0]
    assert found.segments
    said = tuple(token for one in found.segments for token in one.tokens)
    assert found.tokens[: len(said)] == said and len(found.tokens) - len(said) <= 1
    assert len(found.log_probs) == len(found.tokens)
    for segment in found.segments:
        assert "".join(word.text for word in segment.words) == segment.text
        assert all(0 <= word.probability <= 1 for word in segment.words)
        assert [word.start for word in segment.words] == sorted(word.start for word in segment.words)
        assert all(word.start <= word.end for word in segment.words)
    assert found.words == tuple(word for segment in found.segments for word in segment.words)
    assert pipeline.generate(audio, return_timestamps="word", **whole)[0][0].words == found.words


def test_side_by_side_as_alone(pipeline, sounds):
    recordings = [sounds(seconds, seed) for seed, seconds in enumerate((1.0, 0.3, 2.5, 31.0))]
    for options in ({"task": "transcribe"}, {"segments": True, "words": True, "language": "en"}, {"num_beams": 2, "task": "translate"}):
        together = pipeline.generate(recordings, sampling_rate=RATE, **options)
        alone = [pipeline.generate(one, sampling_rate=RATE, **options)[0] for one in recordings]
        assert [one[0].tokens for one in together] == [one[0].tokens for one in alone]
        assert all(one[0].segments == other[0].segments or one[0].text == other[0].text for one, other in zip(together, alone, strict=True))
        assert pipeline(recordings, sampling_rate=RATE, **options) == [one[0].text for one in alone]


LONG = (
    {"language": None},
    pytest.param({"language": "en", "condition_on_prev_tokens": True}, marks=pytest.mark.sweep),
    {"language": "en", "temperature": (0.0, 0.0), "logprob_threshold": -0.5, "compression_ratio_threshold": 1.3, "condition_on_prev_tokens": True},
    pytest.param({"language": "fr", "logprob_threshold": -0.5, "no_speech_threshold": 1e-6, "temperature": 0.0}, marks=pytest.mark.sweep),
)


@pytest.mark.parametrize("options", LONG, ids=str)
def test_long_recordings(pipeline, theirs, sounds, options):
    audio = sounds(71.3, 3)
    expected = theirs.generate(audio, long=True, return_timestamps=True, **options)
    found = pipeline.generate(audio, sampling_rate=RATE, **options)[0][0]
    assert without_end(found.tokens, theirs.model.generation_config.eos_token_id) == expected
    assert len(set(expected)) > 15


def test_segments_of_a_long_recording(pipeline, theirs, sounds):
    audio = sounds(65.0, 1)
    with torch.no_grad():
        inputs = theirs.features(audio, long=True).input_features
        expected = theirs.model.generate(inputs, language="en", return_timestamps=True, return_segments=True)["segments"][0]
    found = pipeline.generate(audio, sampling_rate=RATE, language="en")[0][0]
    assert [list(one.tokens) for one in found.segments] == [one["tokens"].tolist() for one in expected]
    np.testing.assert_allclose(
        [(one.start, one.end) for one in found.segments], [(float(one["start"]), float(one["end"])) for one in expected], atol=0.011
    )


CONTEXT = {"condition_on_prev_tokens": True}


@pytest.mark.parametrize(
    "options",
    [pytest.param({}, marks=pytest.mark.sweep), pytest.param(CONTEXT, marks=pytest.mark.sweep), {**CONTEXT, "prompt_condition_type": "all-segments"}],
    ids=str,
)
def test_a_prompt_before_every_window(pipeline, theirs, sounds, options):
    audio, ids = sounds(33.0, 2), theirs.tokenizer.get_prompt_ids("the test", return_tensors="pt")
    expected = theirs.generate(audio, long=True, language="en", return_timestamps=True, prompt_ids=ids, **options)
    found = pipeline.generate(audio, sampling_rate=RATE, language="en", prompt="the test", **options)[0][0]
    assert without_end(found.tokens, theirs.model.generation_config.eos_token_id) == expected


def test_sampling(pipeline, sounds):
    audio = [sounds(1.0, 1), sounds(1.0, 2)]
    options = {"sampling_rate": RATE, "language": "en", "temperature": 0.8}
    first = pipeline(audio, seed=1, **options)
    assert first == pipeline(audio, seed=1, **options)
    assert first[::-1] == pipeline(audio[::-1], seed=1, **options)
    assert first != pipeline(audio, seed=2, **options)
    cold = pipeline.generate(audio, sampling_rate=RATE, language="en", temperature=0.5, top_k=1, seed=1)
    greedy = pipeline.generate(audio, sampling_rate=RATE, language="en")
    assert [one[0].tokens for one in cold] == [one[0].tokens for one in greedy]


def test_a_doubtful_window_is_heard_again(pipeline, sounds):
    audio = sounds(2.0, 1)
    options = {"sampling_rate": RATE, "language": "en", "segments": True, "seed": 3}
    plain = pipeline.generate(audio, **options)[0][0]
    again = pipeline.generate(audio, temperature=(0.0, 0.7), logprob_threshold=0.0, **options)[0][0]
    assert {one.temperature for one in plain.segments} == {0.0}
    assert {one.temperature for one in again.segments} == {0.7}
    assert again.tokens != plain.tokens
    kept = pipeline.generate(audio, temperature=(0.0, 0.7), logprob_threshold=-1e9, **options)[0][0]
    assert kept == plain
