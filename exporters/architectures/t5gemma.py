"""T5Gemma: an encoder-decoder made of Gemma."""

from typing import Any

NEAREST = "t5"


def refuse(config: Any) -> str | None:
    return "caps its attention scores and attends within sliding windows, which the fused operators do not do"
