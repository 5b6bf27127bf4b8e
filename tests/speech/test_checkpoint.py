"""A trained Whisper-base and ten seconds of English: the same words as PyTorch, the same times, and int8 that loses none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoTokenizer

import zen_edge
from zen_edge.exporters.checkpoint import load_checkpoint
from zen_edge.runtimes.audio.reading import read_audio

from .conftest import RATE, Theirs, without_end

pytestmark = pytest.mark.checkpoint


@pytest.fixture(scope="module")
def folder(real_checkpoint: Callable[[str], Path]) -> Path:
    return real_checkpoint("whisper-base")


@pytest.fixture(scope="module")
def bundles(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("whisper-base")
    for precision in ("fp32", "int8"):
        zen_edge.export(folder, out / precision, precision=precision)
    return {precision: out / precision for precision in ("fp32", "int8")}


@pytest.fixture(scope="module")
def trained(folder: Path) -> Iterator[Theirs]:
    yield Theirs(load_checkpoint(folder).model, AutoTokenizer.from_pretrained(folder), AutoFeatureExtractor.from_pretrained(folder))


def test_the_same_words_and_times(folder, bundles, trained):
    path = folder / "speech" / "beckett.wav"
    audio, end = read_audio(path, None, RATE), trained.model.generation_config.eos_token_id
    with zen_edge.load(bundles["fp32"]) as pipeline:
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


def test_int8_loses_no_word(folder, bundles):
    with zen_edge.load(bundles["fp32"]) as exact, zen_edge.load(bundles["int8"]) as small:
        path = folder / "speech" / "beckett.wav"
        assert small(path, language="en").lower().replace(".", ",") == exact(path, language="en").lower().replace(".", ",")
