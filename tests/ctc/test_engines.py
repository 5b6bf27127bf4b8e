"""The engines of benchmarks on models with one output for every frame."""

from __future__ import annotations

import numpy as np
import soundfile

from zen_edge.benchmarks.engines import torch, zen_edge


def test_engines_hear_alike(wav2vec2, noise, tmp_path):
    paths = [str(tmp_path / f"{i}.wav") for i in range(3)]
    for i, path in enumerate(paths):
        soundfile.write(path, np.clip(noise(1.0, i), -1, 1), 16000)
    found = []
    for engine, folder in ((torch, wav2vec2.checkpoint), (zen_edge, wav2vec2.bundle.path)):
        hear = engine.load_speech(folder, "fp32", 1)
        texts, count = hear(paths, 4, 8, False)  # beams and lengths mean nothing here
        found.append(texts)
        assert all(number > 0 for number in count())
        first = hear.encoder_seconds()
        assert 0 < first < 10
        hear(paths[:1], 1, 8, False)
        assert 0 < hear.encoder_seconds() < 10  # of the last call alone: nothing is summed up
    assert found[0] == found[1]
    assert len(set(found[0])) == 3
