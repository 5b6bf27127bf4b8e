"""LongT5: T5 for long documents."""

from typing import Any

NEAREST = "t5"


def refuse(config: Any) -> str | None:
    return "attends within blocks of its source, and to what it makes of other blocks, which the fused operators do not do"
