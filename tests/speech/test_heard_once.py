"""A parity check lets PyTorch's encoder hear each window once, and says what PyTorch says without that."""

from __future__ import annotations

import numpy as np
import torch
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from zen_edge.exporters.checkpoint import load_checkpoint
from zen_edge.exporters.reference_speech import SpeechReference


def test_each_window_is_heard_once(checkpoint, theirs, sounds, monkeypatch):
    heard, hear = [], WhisperEncoder.forward

    def counted(self, input_features, *args, **kwargs):
        heard.extend(row.numpy().tobytes() for row in input_features)
        return hear(self, input_features, *args, **kwargs)

    audio = [sounds(2.0, 1), sounds(1.0, 2)]
    options = ({"max_new_tokens": 6}, {"max_new_tokens": 6, "num_beams": 3})
    expected = [theirs.generate(sound, **chosen) for sound in audio for chosen in options]
    reference = SpeechReference(load_checkpoint(checkpoint))
    windows = [reference.features(sound) for sound in audio]
    forced = np.array([[1, 2, 3], [3, 2, 1]])
    with torch.no_grad():
        scores = theirs.model(input_features=torch.from_numpy(np.stack(windows)), decoder_input_ids=torch.from_numpy(forced)).logits.numpy()

    monkeypatch.setattr(WhisperEncoder, "forward", counted)
    prompts = [reference.prompt(window, 4) for window in windows]
    assert [list(reference.generate(window, **chosen)) for window in windows for chosen in options] == expected
    np.testing.assert_allclose(reference.logits(np.stack(windows), forced), scores, atol=1e-5)
    cross = reference.cross(np.stack(windows))
    assert len(heard) == len(set(heard)) < 6  # the rest of a window after the end of a segment is a window too
    assert {window.tobytes() for window in windows} <= set(heard)
    assert len(prompts[0]) == 4
    assert not np.allclose(*cross["cross_key_0"])

    before = len(heard)
    assert not np.allclose(reference.logits(np.stack(windows) + 1, forced), scores, atol=1e-3)  # other numbers are other windows
    assert len(heard) == before + 2
    assert "forward" not in vars(theirs.model.get_encoder())
