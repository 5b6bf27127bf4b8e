"""Maps of recognizers with an output for every frame: from second to second, as in transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import zen_edge
from zen_edge.errors import InputError
from zen_edge.exporters.reference import eager

RATE = 16000


def test_the_weights_are_transformers(wav2vec2, keep_attention, noise):
    audio = noise(1.0)
    with zen_edge.load(keep_attention(wav2vec2.bundle.path), threads=1) as opened:
        seen = opened.attend(audio, sampling_rate=RATE)
        assert seen.text == opened(audio, sampling_rate=RATE)
        with pytest.raises(InputError, match="of up to 5 s, and this is longer"):
            opened.attend(noise(6.0), sampling_rate=RATE, chunk_length_s=5)
    with torch.no_grad(), eager(wav2vec2.model):
        out = wav2vec2.model(wav2vec2.extractor(audio, sampling_rate=RATE, return_tensors="pt").input_values, output_attentions=True)
    np.testing.assert_allclose(seen.weights["encoder"], torch.stack(out.attentions, 1)[0].numpy(), atol=1e-5)
    shown = seen.chosen()
    assert shown.rows == shown.columns == seen.source
    assert seen.source[:2] == ("0.00", "0.02")


@pytest.mark.sweep  # a trace each
@pytest.mark.parametrize(
    ("model_type", "changes"), [("wav2vec2", {}), ("hubert", {}), ("wav2vec2-conformer", {}), ("parakeet_ctc", {}), ("wavlm", {})]
)
def test_an_export_is_verified(model_type, changes, noise, export_ctc, tmp_path):
    checkpoint = export_ctc(model_type, **changes).checkpoint
    made = zen_edge.export(checkpoint, tmp_path / "fp32", with_attention=True)
    compared = [row["max_abs"] for row in made.manifest.parity["outputs"] if row["name"] == "attention.encoder"]
    assert compared
    assert max(compared) < 1e-4
    small = zen_edge.quantize(made.path, tmp_path / "int8", precision="int8")
    assert zen_edge.parity(small.path, checkpoint).passed
    with zen_edge.load(small.path, threads=1) as opened:
        assert opened.attend(noise(1.0), sampling_rate=RATE).weights.keys() == {"encoder"}
