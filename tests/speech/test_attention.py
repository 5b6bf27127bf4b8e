"""Recognizers have no maps of attention yet, and say so before anything is traced."""

from __future__ import annotations

import pytest

from zen_edge.errors import UnsupportedModelError
from zen_edge.exporters import export


def test_an_export_with_attention_is_refused(checkpoint, tmp_path):
    steps: list[str] = []
    with pytest.raises(UnsupportedModelError, match="whisper hears, and maps are of tokens only: leave out --with-attention"):
        export(checkpoint, tmp_path / "out", with_attention=True, tell=steps.append)
    assert steps == ["load the checkpoint"]
    assert not list(tmp_path.iterdir())
