"""Dia: text to speech."""

from typing import Any

NEAREST = "whisper"


def refuse(config: Any) -> str | None:
    return "writes sound, which is not exported"
