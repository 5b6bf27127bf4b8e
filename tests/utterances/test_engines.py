"""The engines of benchmarks on models that hear utterances."""

from __future__ import annotations

import pytest
import soundfile

from zen_edge.benchmarks.engines import torch, zen_edge
from zen_edge.sounds import voice

from .conftest import RATE


@pytest.mark.parametrize("name", ["moonshine", "translator"])
def test_engines_hear_alike(name, request, tmp_path):
    exported = request.getfixturevalue(name)
    paths = [str(tmp_path / f"{i}.wav") for i in range(3)]
    for i, path in enumerate(paths):
        soundfile.write(path, voice(2 * RATE, RATE, i), RATE, subtype="FLOAT")
    for num_beams, exactly in ((1, False), (2, True)):
        found = []
        for engine, folder in ((torch, exported.checkpoint), (zen_edge, exported.bundle.path)):
            hear = engine.load_speech(folder, "fp32", 1)
            texts, count = hear(paths, num_beams, 9, exactly)
            found.append((texts, count()))
            assert 0 < hear.encoder_seconds() < 10
        assert found[0] == found[1]
        assert not exactly or found[0][1] == [9, 9, 9]
