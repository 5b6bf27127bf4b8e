"""Gemma 2: reads from left to right. Its attention caps its scores."""

from typing import Any

NEAREST = "gemma3_text"


def refuse(config: Any) -> str | None:
    if config.attn_logit_softcapping is not None:
        return "caps its attention scores (attn_logit_softcapping), which the fused operators do not do; without it it is exported"
    return None
