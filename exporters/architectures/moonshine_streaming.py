"""Moonshine for sound that is still coming in."""

from typing import Any

NEAREST = "moonshine"


def refuse(config: Any) -> str | None:
    return "attends within sliding windows that see a little of what follows, which is not exported yet"
