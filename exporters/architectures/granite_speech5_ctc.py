"""Granite Speech's CTC models."""

from typing import Any

NEAREST = "wav2vec2-bert"


def refuse(config: Any) -> str | None:
    return "reads frames that transformers computes with torchaudio only, in blocks of a fixed size, which is not exported"
