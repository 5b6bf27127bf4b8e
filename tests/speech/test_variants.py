"""Other shapes of Whisper: English only, more mel bins, a decoder of fewer layers than the encoder, int8. Export compares each with PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile

import zen_edge
from zen_edge.benchmarks.tiny_whisper import write_tiny_whisper
from zen_edge.exporters.checkpoint import load_checkpoint
from zen_edge.runtimes.speech import sequential

from .conftest import RATE, Theirs, without_end

pytestmark = pytest.mark.sweep
VARIANTS: dict[str, dict[str, Any]] = {
    "english": {"multilingual": False},
    "large": {"num_mel_bins": 128, "encoder_layers": 3, "decoder_layers": 2},
    "distilled": {"encoder_layers": 4, "decoder_layers": 1, "decoder_ffn_dim": 64, "multilingual": False},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants(name, tmp_path: Path, sounds):
    from transformers import AutoFeatureExtractor, AutoTokenizer

    folder = tmp_path / name
    write_tiny_whisper(folder, **VARIANTS[name])
    zen_edge.export(folder, tmp_path / "bundle")
    theirs = Theirs(load_checkpoint(folder).model, AutoTokenizer.from_pretrained(folder), AutoFeatureExtractor.from_pretrained(folder))
    with zen_edge.load(tmp_path / "bundle", threads=1) as pipeline:
        for options in ({}, {"return_timestamps": True}, {"num_beams": 2}):
            found = pipeline.generate(sounds(2.0, 1), sampling_rate=RATE, **options)[0][0]
            assert without_end(found.tokens, theirs.model.generation_config.eos_token_id) == theirs.generate(sounds(2.0, 1), **options)
        assert (found.language == "en") or VARIANTS[name].get("multilingual", True)
    report = zen_edge.parity(tmp_path / "bundle", folder)
    assert report.passed, report.failures


def test_parity_of_long_recordings(checkpoint, bundle, tmp_path: Path, sounds, monkeypatch):
    names = [tmp_path / "long.wav", tmp_path / "short.wav"]
    for name, seconds in zip(names, (41.0, 1.0), strict=True):
        soundfile.write(name, sounds(seconds, 3), RATE, subtype="FLOAT")
    (tmp_path / "inputs.txt").write_text("\n".join(map(str, names)), "utf-8")
    report = zen_edge.parity(bundle, checkpoint, inputs=tmp_path / "inputs.txt")
    assert report.passed, report.failures
    assert (report.cases["long"].total, report.cases["long"].identical, report.cases["greedy"].total) == (1, 1, 2)
    assert (report.about["lines"], report.about["lines_longer_than_a_window"]) == (2, 1)
    hear_on = sequential.spans
    monkeypatch.setattr(
        sequential, "spans", lambda tokens, first, frames: (hear_on(tokens, first, frames)[0], frames)
    )  # every window after the other
    report = zen_edge.parity(bundle, checkpoint, inputs=tmp_path / "inputs.txt")
    assert not report.passed
    assert report.cases["long"].first_divergence is not None


def test_int8(checkpoint, tmp_path: Path, sounds):
    zen_edge.export(checkpoint, tmp_path / "bundle", precision="int8")
    manifest = json.loads((tmp_path / "bundle" / "zen-edge.json").read_text("utf-8"))
    assert [graph["ops"]["Conv"] for graph in manifest["graphs"] if graph["name"] == "encoder"] == [2]
    assert manifest["parity"]["passed"]


def test_forced_decoder_ids_of_older_checkpoints(tmp_path: Path, sounds):
    from transformers import AutoFeatureExtractor, AutoTokenizer

    folder = tmp_path / "old"
    write_tiny_whisper(folder)
    settings = json.loads((folder / "generation_config.json").read_text("utf-8"))
    forced = [[1, None], [2, settings["task_to_id"]["transcribe"]]]
    (folder / "generation_config.json").write_text(json.dumps(settings | {"forced_decoder_ids": forced}), "utf-8")
    zen_edge.export(folder, tmp_path / "bundle", verify=False)
    theirs = Theirs(load_checkpoint(folder).model, AutoTokenizer.from_pretrained(folder), AutoFeatureExtractor.from_pretrained(folder))
    with zen_edge.load(tmp_path / "bundle", threads=1) as pipeline:
        for options in ({}, {"language": "fr"}, {"task": "translate"}):
            found = pipeline.generate(sounds(2.0, 1), sampling_rate=RATE, **options)[0][0]
            assert without_end(found.tokens, settings["eos_token_id"]) == theirs.generate(sounds(2.0, 1), **options)
