"""A.X K2: attends to the words that an index of its own finds best, which is all of them in a text that has no more than it takes; longer ones are
refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from transformers.models.axk2.modeling_axk2 import AXK2Indexer

from zen_edge.exporters.attention import replaced
from zen_edge.exporters.limits import Limits


def limits(model: Any, measured: Limits) -> Limits:
    found = int(model.config.index_topk)
    return replace(measured, source=found if measured.source is None else min(measured.source, found))


def _all(*_: Any, **__: Any) -> None:
    """No words in particular."""


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    with replaced((module for module in model.modules() if isinstance(module, AXK2Indexer)), _all):
        yield
