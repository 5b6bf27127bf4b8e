"""On which device a bundle runs while it is compared with its model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_DEVICE: ContextVar[str] = ContextVar("device", default="cpu")


def device() -> str:
    """The CPU, unless `comparing_on` says otherwise: an export for a GPU is verified where it is made, which need not have one."""
    return _DEVICE.get()


@contextmanager
def comparing_on(device: str) -> Iterator[None]:
    """Every comparison inside runs the bundle there."""
    before = _DEVICE.set(device)
    try:
        yield
    finally:
        _DEVICE.reset(before)
