"""LED: BART for long documents."""

from typing import Any

NEAREST = "bart"


def refuse(config: Any) -> str | None:
    return "attends within a sliding window over its source, which the fused operators do not do"
