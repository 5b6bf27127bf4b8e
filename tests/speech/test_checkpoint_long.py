"""A trained Whisper-base and recordings of one to two minutes, joined of real and of synthetic speech, against transformers' long-form `generate`: the
same tokens, segments and times, whether a window is accepted, heard again at a higher temperature or taken for silence."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import numpy as np
import pytest
import torch

import zen_edge
from zen_edge.benchmarks.run import spoken
from zen_edge.benchmarks.speech import clips
from zen_edge.runtimes.audio.reading import read_audio
from zen_edge.runtimes.pipelines.transcription import Pipeline
from zen_edge.runtimes.speech.sequential import Piece

from .conftest import RATE

pytestmark = pytest.mark.checkpoint

AGAIN = {
    "temperature": (0.0, 0.4, 0.8),
    "compression_ratio_threshold": 1.35,
    "no_speech_threshold": 0.6,
    "top_k": 1,
}  # draws the likeliest word: no chance
CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("pauses", {"language": "en"}),
    ("pauses", {"task": "transcribe", "condition_on_prev_tokens": True}),
    ("pauses", {"language": "en", "num_beams": 3}),
    ("pauses", {"language": "en", "prompt": "Ever tired, McAllister"}),
    ("pauses", {"language": "en", "prompt": "Ever tired", "condition_on_prev_tokens": True, "prompt_condition_type": "all-segments"}),
    ("silences", {"language": "en"}),
    ("silences", {"language": "en", **AGAIN, "logprob_threshold": -0.5, "condition_on_prev_tokens": True}),
    ("in circles", {"language": "en"}),
    ("in circles", {"task": "translate", **AGAIN, "logprob_threshold": -1.0}),
)


@pytest.fixture(scope="module")
def exact(whisper_bundles) -> Iterator[Pipeline]:
    with zen_edge.load(whisper_bundles["fp32"], threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def recordings(whisper_base) -> dict[str, np.ndarray]:
    said = [read_audio(line.source, None, RATE) for line in clips(spoken(lambda step: None))]
    real = read_audio(whisper_base / "speech" / "beckett.wav", None, RATE)
    noise = np.random.default_rng(0)

    def quiet(seconds: float) -> np.ndarray:
        return noise.normal(0, 0.001, round(seconds * RATE)).astype(np.float32)

    def apart(sounds: list[np.ndarray], pauses: tuple[float, ...]) -> np.ndarray:
        return np.concatenate([part for sound, pause in zip(sounds, cycle(pauses), strict=False) for part in (sound, quiet(pause))])

    tone = (0.2 * np.sin(2 * np.pi * 440 * np.arange(12 * RATE) / RATE)).astype(np.float32)
    return {
        "pauses": apart([real, *said[8:18]], (0.2, 1.4, 2.6, 0.8, 2.0)),
        "silences": apart([said[3], said[9], real, said[20], said[12]], (1.0, 45.0, 0.5, 33.0, 0.1)),
        "in circles": apart([*[said[0]] * 6, tone, said[5], real, real, *[said[1]] * 6], (0.05,)),
    }


@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda each: each if isinstance(each, str) else "-".join(map(str, each)))
def test_the_same_segments(exact, trained, recordings, name, options):
    audio = recordings[name]
    given = {key: value for key, value in options.items() if key != "prompt"}
    if "prompt" in options:
        given["prompt_ids"] = trained.tokenizer.get_prompt_ids(options["prompt"], return_tensors="pt")
    with torch.no_grad():
        features = trained.features(audio, long=True).input_features
        expected = trained.model.generate(features, return_timestamps=True, return_segments=True, **given)["segments"][0]
    found = exact.generate(audio, sampling_rate=RATE, segments=True, **options)[0][0]
    assert [list(one.tokens) for one in found.segments] == [one["tokens"].tolist() for one in expected]
    times = [(float(one["start"]), float(one["end"])) for one in expected]
    np.testing.assert_allclose([(one.start, one.end) for one in found.segments], times, atol=0.011)
    if "temperature" not in options:
        assert len(times) > 5
    else:
        assert {one.temperature for one in found.segments} & {0.4, 0.8}


def test_the_same_times_of_words(exact, trained, recordings, monkeypatch):
    audio = recordings["pauses"]
    pieces: list[Piece] = []
    monkeypatch.setattr(Pipeline, "_words", lambda self, piece, language: pieces.append(piece) or ())  # words leave the times of single tokens out
    exact.generate(audio, sampling_rate=RATE, language="en", words=True)
    inputs = trained.features(audio, long=True)
    with torch.no_grad():
        expected = trained.model.generate(
            inputs.input_features,
            attention_mask=inputs.attention_mask,
            language="en",
            return_timestamps=True,
            return_token_timestamps=True,
            return_segments=True,
        )["segments"][0]
    assert [list(piece.tokens) for piece in pieces] == [one["tokens"].tolist() for one in expected]
    for piece, one in zip(pieces, expected, strict=True):
        times = np.array(piece.heard.times[piece.first : piece.first + len(piece.tokens)]) + piece.offset
        np.testing.assert_allclose(times, torch.as_tensor(one["token_timestamps"]).numpy(), atol=0.04)
