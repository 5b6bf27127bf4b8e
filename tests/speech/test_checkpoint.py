"""A trained Whisper-base and ten seconds of English: the same words as PyTorch, the same times, and int8 that loses none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import zen_edge
from zen_edge.benchmarks.run import spoken
from zen_edge.benchmarks.speech import clips, plain_word_error_rate
from zen_edge.runtimes.audio.reading import read_audio

from .conftest import RATE, without_end

pytestmark = pytest.mark.checkpoint


def test_the_same_words_and_times(whisper_base, whisper_bundles, trained):
    path = whisper_base / "speech" / "beckett.wav"
    audio, end = read_audio(path, None, RATE), trained.model.generation_config.eos_token_id
    with zen_edge.load(whisper_bundles["fp32"]) as pipeline:
        for options in (
            {"language": "en"},
            {"language": "en", "return_timestamps": True},
            {"task": "transcribe"},
            {"language": "en", "num_beams": 2},
        ):
            found = pipeline.generate(path, window="full", **options)[0][0]
            assert without_end(found.tokens, end) == trained.generate(audio, **options), options
        inputs = trained.features(audio)
        with torch.no_grad():
            expected = trained.model.generate(
                inputs.input_features, attention_mask=inputs.attention_mask, language="en", return_timestamps=True, return_token_timestamps=True
            )
        found = pipeline.generate(path, language="en", words=True, window="full")[0][0]
        tokens, times = expected["sequences"][0].tolist(), expected["token_timestamps"][0].tolist()
        ends = {round(time, 2) for time in times}
        assert without_end(found.tokens, end) == without_end(tokens, end)
        assert len(found.words) >= 12
        for word in found.words:
            assert np.min(np.abs(np.array([*ends]) - word.end)) <= 0.04
        assert "".join(word.text for word in found.words) == found.text


def test_int8_loses_no_word(whisper_base, whisper_bundles):
    with zen_edge.load(whisper_bundles["fp32"]) as exact, zen_edge.load(whisper_bundles["int8"]) as small:
        path = whisper_base / "speech" / "beckett.wav"
        assert small(path, language="en").lower().replace(".", ",") == exact(path, language="en").lower().replace(".", ",")


CUTS = (
    (0, 2),
    (0, 3),
    (0, 4.5),
    (0, 6),
    (0, 8),
    (2, 4),
    (3, 5),
    (4, 6),
    (5, 5),
    (6, 4),
    (1, 8),
    (0, 9.5),
)  # seconds of the real recording: from, for


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_short_windows_say_the_words_of_whole_ones(whisper_base, whisper_bundles, precision):
    """Most of them, and those that differ are as often right: docs/speech.md tells how many."""
    lines = clips(spoken(lambda step: None))
    real = read_audio(whisper_base / "speech" / "beckett.wav", None, RATE)
    sounds = [read_audio(line.source, None, RATE) for line in lines]
    sounds += [real[round(start * RATE) : round((start + length) * RATE)] for start, length in CUTS]
    with zen_edge.load(whisper_bundles[precision]) as pipeline:
        short, whole = (pipeline(sounds, sampling_rate=RATE, language="en", window=window) for window in ("auto", "full"))
    same = sum(plain_word_error_rate([one], [other]) == 0 for one, other in zip(short, whole, strict=True))
    assert 20 <= same < len(sounds)  # were all the same, nothing was heard in a short window
    of_short, of_whole = (plain_word_error_rate(texts[: len(lines)], [str(line.target) for line in lines]) for texts in (short, whole))
    assert of_short <= of_whole + 1
