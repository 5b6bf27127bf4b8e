"""Maps of recognizers of utterances, compared with transformers in padded batches by the export itself."""

from __future__ import annotations

import numpy as np
import pytest

import zen_edge
from zen_edge.errors import InputError

RATE = 16000


@pytest.mark.sweep  # a trace each
@pytest.mark.parametrize("name", ["moonshine", "translator"])
def test_an_export_is_verified(name, request, sounds, tmp_path):
    one = request.getfixturevalue(name)
    made = zen_edge.export(one.checkpoint, tmp_path / "fp32", with_attention=True)
    compared = {row["name"]: row["max_abs"] for row in made.manifest.parity["outputs"] if row["name"].startswith("attention.")}
    assert compared.keys() == {"attention.encoder", "attention.decoder", "attention.cross"}
    assert max(compared.values()) < 1e-4
    small = zen_edge.quantize(made.path, tmp_path / "int8", precision="int8")
    # The softmaxes of random weights are sharp: in int8 their weights may be told to be off, and nothing else.
    assert all(failure.startswith("output attention.") for failure in zen_edge.parity(small.path, one.checkpoint).failures)
    options = {"language": "fr"} if name == "translator" else {}
    for bundle in (made, small):
        with zen_edge.load(bundle.path, threads=1) as opened:
            seen = opened.attend(sounds[0], sampling_rate=RATE, **options)
            assert seen.text == opened.generate(sounds[0], sampling_rate=RATE, **options)[0][0].text
            assert seen.weights["cross"].shape[2:] == (len(seen.target), len(seen.source))
            assert 1.9 < float(seen.source[-1]) < 2
            assert all(np.allclose(weights.sum(-1), 1, atol=1e-4) for weights in seen.weights.values())
            with pytest.raises(InputError, match="a map is of a recording that is heard at once"):
                opened.attend(sounds[0], sampling_rate=RATE, chunk_length_s=1.5, **options)
