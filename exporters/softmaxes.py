"""Every softmax that PyTorch computes, which is where the weights of attention are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

Array = np.ndarray[Any, Any]
OPERATORS = (torch.ops.aten._softmax.default, torch.ops.aten._safe_softmax.default)


class _Softmaxes(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Array] = []

    def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in OPERATORS:
            self.found.append(out.movedim(args[1], -1).float().numpy().copy())
        return out


@contextmanager
def softmaxes() -> Iterator[list[Array]]:
    """Those that are computed inside the block, one after another, the axis that each runs over last: the copies of what PyTorch goes on with. PyTorch's own attention is computed step by step there."""
    mode = _Softmaxes()
    with sdpa_kernel(SDPBackend.MATH), mode:
        yield mode.found
