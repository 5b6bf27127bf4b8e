"""Encoders of speech put together with decoders of text."""

from typing import Any

NEAREST = "whisper"


def refuse(config: Any) -> str | None:
    return "puts the layers of two architectures together in a way that is not exported yet"
