"""Compare the weights of attention of a graph of one's own with the softmaxes that PyTorch computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from zen_edge.errors import UnsupportedModelError
from zen_edge.parity import OutputDifference, compare_outputs

Array = np.ndarray[Any, Any]


def compare_weights(
    found: Mapping[str, Array], softmaxes: Sequence[Array], precision: str, label: str = "", inside: Array | None = None
) -> Iterator[OutputDifference]:
    """found: by kind, (B,L,N,S,T). softmaxes: (...,S,T), of any layout before it; those that are no attention are among them, so each layer is held against the nearest of its
    size, and none twice. inside: (B,S), which rows are compared of a kind that has as many; None: all. Rows of NaN, which see no key, count as zeros. UnsupportedModelError where PyTorch has none of a layer's size."""
    left = [np.nan_to_num(one) for one in softmaxes]
    for kind, weights in found.items():
        nearest = [_taken(left, layer, kind) for layer in weights.swapaxes(0, 1)]
        expected = np.stack(nearest, 1)
        rows = None if inside is None or inside.shape != (len(weights), weights.shape[3]) or kind == "encoder" else inside[:, None, None, :, None]
        yield compare_outputs(
            f"attention.{kind}{label}", expected, weights, precision, None if rows is None else np.broadcast_to(rows, weights.shape)
        )


def compare_sounds(
    found: Mapping[str, Array], expected: Sequence[Mapping[str, Array]], precision: str, said: Sequence[int] | None = None
) -> Iterator[OutputDifference]:
    """found: by kind, (B,L,N,S,T), of sounds side by side. expected: of each alone, (L,N,S,T). said: how many tokens of each are no padding; None: all."""
    for kind, weights in found.items():
        ours, theirs = [], []
        for row, one in enumerate(expected):
            _, _, S, T = one[kind].shape
            rows = S if said is None or kind == "encoder" else said[row]
            theirs.append(one[kind][:, :, :rows].ravel())
            ours.append(weights[row][:, :, :rows, :T].ravel())
        yield compare_outputs(f"attention.{kind}", np.concatenate(theirs), np.concatenate(ours), precision, graph="speech attention")


def _taken(left: list[Array], layer: Array, kind: str) -> Array:
    """The nearest of `left` to `layer` (B,N,S,T), in its shape, taken out of the list."""
    fitting = [i for i, one in enumerate(left) if one.size == layer.size and one.shape[-1] == layer.shape[-1]]
    if not fitting:
        raise UnsupportedModelError(
            f"PyTorch computes no softmax with the {list(layer.shape)} weights that the graph has for {kind} attention, so that they cannot be compared: leave out --with-attention."
        )
    best = min(fitting, key=lambda i: float(np.abs(left[i].reshape(layer.shape) - layer).max(initial=0)))
    return left.pop(best).reshape(layer.shape)
