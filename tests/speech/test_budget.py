"""A mixture of precisions within a budget of words heard wrong, on recordings that it was not chosen on."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

import zen_edge
from zen_edge import sensitivity
from zen_edge.check_quantized import probe
from zen_edge.manifest import read_manifest
from zen_edge.quantizing import within_budget
from zen_edge.sounds import voice
from zen_edge.text_scores import word_error_rate

RATE = 16000
RECORDINGS, POINTS = 16, 25


def words(bundle: Path, sounds: list[str]) -> list[str]:
    with zen_edge.load(bundle, threads=1) as pipeline:
        return [found[0].text for found in pipeline.generate_each(sounds, num_beams=1)]


def test_recordings_of_any_length_are_heard_side_by_side(bundle):
    tried = probe(bundle, [voice(RATE, RATE, 0), voice(RATE + 4321, RATE, 1)])
    rows, _, frames = tried.sources["input_features"].shape
    assert (rows, frames) == (2, min(200, read_manifest(bundle).limits["max_source_length"]))
    assert np.isfinite(tried.outputs(bundle)["decoder.logits"]).all()


@pytest.mark.sweep
def test_words_within_a_budget(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(sensitivity, "ROUNDS", 3)
    sounds = [str(tmp_path / f"{i:02}.wav") for i in range(RECORDINGS)]
    for i, path in enumerate(sounds):
        soundfile.write(path, voice(RATE + 800 * i, RATE, i), RATE)
    right = words(bundle, sounds)
    assert len(set(right)) > RECORDINGS // 2
    (tmp_path / "lines.jsonl").write_text(
        "".join(json.dumps({"source": path, "target": text}) + "\n" for path, text in zip(sounds, right, strict=True))
    )
    told = []
    found = within_budget(
        bundle,
        tmp_path / "out",
        budget=f"wer={POINTS}",
        inputs=tmp_path / "lines.jsonl",
        fastest=False,
        force=False,
        advance=lambda name, done, total: told.append(done),
    )
    assert all(before <= after for before, after in pairwise(told))
    assert found.chosen.megabytes < found.fp32.megabytes
    again = word_error_rate(words(tmp_path / "out", sounds[1::2]), right[1::2])
    assert again == pytest.approx(found.held_out)
    assert again <= POINTS
    assert max(point.error for point in found.alone) > 1e-6
