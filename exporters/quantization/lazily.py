"""Tensors that are made when they are written, so that of a large model one weight at a time is held in another precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from zen_edge.exporters.fusions.edit import add_initializer

Array = np.ndarray[Any, Any]
Make = Callable[[], tuple[Array, ...]]


@dataclass
class _Latest:
    """What was made last in a graph: tensors that are made together are written one after another."""

    make: Make | None = None
    arrays: tuple[Array, ...] = ()

    def of(self, make: Make) -> tuple[Array, ...]:
        if self.make is not make:
            self.make, self.arrays = None, ()  # let go before the next are made
            self.arrays, self.make = make(), make
        return self.arrays


def add_made(graph: ir.Graph, make: Make, place: int, name: str, dtype: ir.DataType, shape: Sequence[int]) -> ir.Value:
    """A new initializer under `name` for one of the arrays that `make` returns, in another shape of as many numbers."""
    latest: _Latest = graph.meta.setdefault("latest", _Latest())

    def made() -> ir.TensorProtocol:
        return ir.tensor(latest.of(make)[place].reshape(shape), name=name)

    return add_initializer(graph, name, ir.LazyTensor(made, dtype, ir.Shape(shape), name=name))
