"""A model of one output for every frame on the path that a GPU takes, with the CPU for the device."""

from __future__ import annotations

import zen_edge


def test_tokens_are_those_of_the_default_path(wav2vec2, load_bound, noise):
    recordings = [noise(1.0, 1), noise(0.6, 2)]
    folder = wav2vec2.bundle.path
    with zen_edge.load(folder, threads=1) as plain, load_bound(folder) as bound:
        expected = plain.generate(recordings, sampling_rate=16000)
        assert bound.generate(recordings, sampling_rate=16000) == expected
        assert bound.placement().keys() == {"ctc.onnx"}
    assert len({*expected[0][0].tokens}) > 3
