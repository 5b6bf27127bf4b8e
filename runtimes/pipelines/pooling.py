"""One vector of the states of a text's tokens, as the modules of a sentence-transformers checkpoint make it (Reimers and Gurevych 2019, "Sentence-BERT")."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_edge.checked import quoted
from zen_edge.errors import BundleError
from zen_edge.files import unsafe_name

Vector = NDArray[np.float32]

# (T,D), and the place of the first of these tokens in its text -> (D,)
POOLING: dict[str, Callable[[Vector, int], Vector]] = {
    "cls": lambda states, first: states[0],
    "max": lambda states, first: states.max(axis=0),
    "mean": lambda states, first: states.mean(axis=0),
    "mean_sqrt_len_tokens": lambda states, first: states.sum(axis=0) / np.sqrt(np.float32(len(states))),
    "weightedmean": lambda states, first: _weighted_mean(states, np.arange(first + 1, first + 1 + len(states), dtype=np.float32)),
    "lasttoken": lambda states, first: states[-1],
}
ACTIVATIONS: dict[str, Callable[[Vector], Vector]] = {
    "identity": lambda x: x,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
}
LEAST = np.float32(1e-12)  # the length of a vector that is not made longer


@dataclass(frozen=True)
class Pooling:
    """modes: each gives a vector; they stand one after another. steps: what becomes of it after that."""

    modes: tuple[str, ...]
    steps: tuple[Callable[[Vector], Vector], ...]

    @classmethod
    def load(cls, folder: Path, head: Mapping[str, Any]) -> Pooling:
        """From the manifest's "head", and the weights beside it. Raises BundleError."""
        try:
            modes = tuple(head["pooling"])
            steps = tuple(_step(folder, step) for step in head["steps"])
        except (KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"the manifest does not say how a text becomes a vector ({error!r}): export the model again.") from error
        if unknown := {*modes} - POOLING.keys() or not modes:
            raise BundleError(f"the manifest asks for pooling by {unknown or 'nothing'}; this version has {', '.join(POOLING)}: update zen-edge.")
        return cls(modes, steps)

    def __call__(self, states: Vector, skip: int = 0) -> Vector:
        """states (T,D), of which the first `skip` are left out -> (E,)."""
        kept = states[skip:] if skip < len(states) else states[-1:]
        vector = np.concatenate([POOLING[mode](kept, len(states) - len(kept)) for mode in self.modes]).astype(np.float32)
        for step in self.steps:
            vector = step(vector)
        return vector


def _weighted_mean(states: Vector, weights: Vector) -> Vector:
    found: Vector = weights @ states / weights.sum()
    return found


def _normalized(vector: Vector) -> Vector:
    return vector / max(np.float32(np.linalg.norm(vector)), LEAST)


def _step(folder: Path, given: Mapping[str, Any]) -> Callable[[Vector], Vector]:
    if given["kind"] == "normalize":
        return _normalized
    if given["kind"] != "dense" or given["activation"] not in ACTIVATIONS:
        raise BundleError(f"the manifest asks for a step that this version does not know ({given}): update zen-edge.")
    if unsafe_name(given["file"]):
        raise BundleError(f"the manifest names {quoted(given['file'])}, which {unsafe_name(given['file'])}: export the model again.")
    weight, bias = _arrays(folder / given["file"])
    activation = ACTIVATIONS[given["activation"]]
    return lambda vector: activation(weight @ vector + bias)


def _arrays(path: Path) -> tuple[Vector, Vector]:
    """weight (E,D) and bias (E,)."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            weight, bias = arrays["weight"], arrays["bias"]
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"{path.name} cannot be read: {error}; copy the bundle or export it again.") from error
    if weight.dtype != np.float32 or weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise BundleError(f"{path.name} holds no weights of a dense layer: export the model again.")
    return weight, bias
