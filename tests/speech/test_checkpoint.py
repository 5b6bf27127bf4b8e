"""A trained Whisper-base and ten seconds of English: the same words as PyTorch, the same times, and int8 that loses none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import zen_edge
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
