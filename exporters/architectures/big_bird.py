"""BigBird: transformers itself attends to everything in a text that is no longer than what its sparse attention would see of it, and that is what is
exported; longer ones are refused."""

from dataclasses import replace
from typing import Any

from zen_edge.exporters.limits import Limits


def limits(model: Any, measured: Limits) -> Limits:
    config = model.config
    if config.attention_type != "block_sparse":  # and was not, before transformers changed it for a short text
        return measured
    return replace(measured, source=_seen(config) if measured.source is None else min(measured.source, _seen(config)))


def _seen(config: Any) -> int:
    """Global, neighbouring and random blocks together."""
    return int((5 + 2 * config.num_random_blocks) * config.block_size)
