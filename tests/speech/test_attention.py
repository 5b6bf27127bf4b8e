"""Maps of a Whisper: what it writes attends to the seconds of a recording, as in transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import zen_edge
from zen_edge.cli import app
from zen_edge.errors import InputError, ZenEdgeError
from zen_edge.exporters.reference import eager

RATE = 16000


@pytest.fixture(scope="module")
def attending(bundle, keep_attention):
    return keep_attention(bundle)


def test_the_weights_are_transformers(attending, pipeline, theirs, sounds):
    audio = sounds(2.0, 1)
    with zen_edge.load(attending, threads=1) as opened:
        seen = opened.attend(audio, sampling_rate=RATE, window="full", max_new_tokens=8)
        short = opened.attend(audio, sampling_rate=RATE, max_new_tokens=8)
        with pytest.raises(InputError, match="heard at once, of up to 30 s, and this is longer"):
            opened.attend(sounds(31.0), sampling_rate=RATE)
    (heard,) = pipeline.generate(audio, sampling_rate=RATE, window="full", max_new_tokens=8, task="transcribe")[0]
    assert (seen.source[0], seen.source[50], len(seen.source)) == ("0.00", "1.00", seen.weights["cross"].shape[-1])
    assert len(short.source) <= len(seen.source)
    said = heard.tokens[:8]  # of the first window: times that random weights tell begin another
    prompt = [seen.decoder_input[0], *seen.target[:-8]]
    assert prompt == ["<|startoftranscript|>", seen.target[0], "<|transcribe|>", "<|notimestamps|>"]
    ids = [*theirs.tokenizer.convert_tokens_to_ids(prompt), *said[:-1]]
    assert len(ids) == len(seen.target)
    with torch.no_grad(), eager(theirs.model):
        features = theirs.features(audio).input_features
        out = theirs.model(input_features=features, decoder_input_ids=torch.tensor([ids]), output_attentions=True)
    for kind, weights in seen.weights.items():
        expected = torch.stack(out[f"{kind}_attentions"], 1)[0].numpy()
        assert weights.shape == expected.shape
        assert np.abs(weights - expected).max() < 1e-4, kind


def test_a_bundle_without_the_weights(pipeline, sounds):
    with pytest.raises(ZenEdgeError, match="export it again with --with-attention"):
        pipeline.attend(sounds(2.0), sampling_rate=RATE)


def test_the_command(attending, sounds, tmp_path):
    import soundfile

    soundfile.write(tmp_path / "in.wav", sounds(2.0, 1), RATE)
    for name, begins in (("map.png", b"\x89PNG"), ("map.html", b"<!doctype html>")):
        done = CliRunner().invoke(
            app, ["attend", str(attending), str(tmp_path / "in.wav"), "-o", str(tmp_path / name), "--max-new-tokens", "8", "--kind", "cross"]
        )
        assert (done.exit_code, done.stdout) == (0, ""), done.output
        assert (tmp_path / name).read_bytes().startswith(begins)


@pytest.mark.sweep
def test_an_export_is_verified_and_quantized(checkpoint, sounds, tmp_path):
    made = zen_edge.export(checkpoint, tmp_path / "fp32", with_attention=True)
    compared = {row["name"]: row["max_abs"] for row in made.manifest.parity["outputs"] if row["name"].startswith("attention.")}
    assert compared.keys() == {"attention.encoder", "attention.decoder", "attention.cross"}
    assert max(compared.values()) < 1e-4
    small = zen_edge.quantize(made.path, tmp_path / "int8", precision="int8")
    with zen_edge.load(small.path, threads=1) as opened:
        assert opened.attend(sounds(2.0, 1), sampling_rate=RATE, max_new_tokens=4).weights.keys() == {"encoder", "decoder", "cross"}
