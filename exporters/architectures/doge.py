"""Doge: attends to the words that it finds best, which is all of them in a text that has no more than it keeps; longer ones are refused."""

from dataclasses import replace
from typing import Any

from zen_edge.exporters.limits import Limits


def limits(model: Any, measured: Limits) -> Limits:
    kept = int(model.config.keep_window_size)
    return replace(measured, source=kept if measured.source is None else min(measured.source, kept))
