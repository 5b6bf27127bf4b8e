"""GPT-Neo: cuts its masks from a table of all positions, which PyTorch takes for another thing than the whole table while it traces: one token less fits."""

from dataclasses import replace
from typing import Any

from zen_edge.exporters.limits import Limits


def limits(model: Any, measured: Limits) -> Limits:
    return replace(measured, source=int(model.config.max_position_embeddings) - 1)
