"""NLLB with experts."""

from typing import Any

NEAREST = "m2m_100"


def refuse(config: Any) -> str | None:
    return "sends each word to experts of its own choice (mixture of experts), which a graph with fixed operators does not do; the dense NLLB-200 checkpoints are m2m_100"
