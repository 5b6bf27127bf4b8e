"""T5Gemma 2: an encoder-decoder made of Gemma 3."""

from typing import Any

NEAREST = "t5"


def refuse(config: Any) -> str | None:
    return "attends to the past and the source in one attention within sliding windows, which the fused operators do not do"
