"""ProphetNet: predicts several words at once while it is trained."""

from typing import Any

NEAREST = "bart"


def refuse(config: Any) -> str | None:
    return "reads the past in two streams that attend to each other (n-gram attention), which the fused operators do not do"
