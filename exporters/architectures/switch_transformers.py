"""Switch Transformers: T5 with experts."""

from typing import Any

NEAREST = "t5"


def refuse(config: Any) -> str | None:
    return "sends each word to an expert of its own choice (mixture of experts), which a graph with fixed operators does not do"
