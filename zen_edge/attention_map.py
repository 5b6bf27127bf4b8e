"""How a model attended while it answered: the weights of its attention, with the tokens that they are from and to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from zen_edge.errors import OptionError

KINDS = ("cross", "decoder", "encoder")  # as transformers has them; the one that says most about an answer first

Labels = tuple[str, ...]


def attention_file(graph: str) -> str:
    """The file of a bundle that adds the weights of attention to the outputs of the graph of this name."""
    return f"{graph}.attention"


def ascending(labels: Sequence[str]) -> bool:
    """Whether labels are numbers in order, as positions and times are: where there are many, a few tell the others."""
    try:
        numbers = [float(label) for label in labels]
    except ValueError:
        return False
    return all(before < after for before, after in pairwise(numbers))


@dataclass(frozen=True)
class Shown:
    """Weights to look at, (S,T): of the rows to the columns, both by their tokens. title: which they are."""

    title: str
    rows: Labels
    columns: Labels
    weights: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """weights: by kind, (L,N,S,T), each row of which sums to 1. "encoder": from source to source. "cross": from target to source. "decoder": from
    target to decoder_input. Of a module of one's own "self" and "cross", and "cross-2" for layers of other sizes: from position to position.

    source: the tokens that the encoder reads; of a recognizer the seconds at which its frames begin. target: those that are said; decoder_input: what the decoder reads to say each of them, which is the token
    before it. Both are empty where there is no decoder. text: what was answered, or read where there is no decoder. labels: of the rows and columns of kinds
    that are not from token to token.
    """

    source: Labels
    target: Labels
    decoder_input: Labels
    weights: dict[str, NDArray[np.float32]]
    text: str
    labels: Mapping[str, tuple[Labels, Labels]] = field(default_factory=dict)

    @property
    def kinds(self) -> list[str]:
        """Those there are, the one that is shown first at the beginning."""
        return [*(kind for kind in KINDS if kind in self.weights), *(kind for kind in self.weights if kind not in KINDS)]

    def tokens(self, kind: str) -> tuple[Labels, Labels]:
        """Of the rows and the columns of a kind."""
        if kind in self.labels:
            return self.labels[kind]
        if kind == "cross":
            return self.target, self.source
        return (self.target, self.decoder_input) if kind == "decoder" else (self.source, self.source)

    def chosen(self, kind: str | None = None, layer: int | None = None, head: int | None = None) -> Shown:
        """The weights of one kind, layer and head, counted from 0 as the arrays are; of every layer or head that is left out, the mean.

        kind: otherwise the first of `kinds`. OptionError for what the model has not.
        """
        kind = self.kinds[0] if kind is None else kind
        if kind not in self.weights:
            raise OptionError(f"kind {kind!r} is not among the attention of this model: {', '.join(self.kinds)}.")
        weights = self.weights[kind]
        parts = [kind]
        for axis, (name, place) in enumerate((("layer", layer), ("head", head))):
            if place is not None and not 0 <= place < weights.shape[axis]:
                raise OptionError(f"{name} {place} is not there: {kind} has {name}s 0 to {weights.shape[axis] - 1}.")
            parts.append(f"mean of {weights.shape[axis]} {name}s" if place is None else f"{name} {place}")
            chosen = slice(None) if place is None else slice(place, place + 1)
            weights = weights[chosen] if axis == 0 else weights[:, chosen]
        rows, columns = self.tokens(kind)
        return Shown(", ".join(parts), rows, columns, weights.mean(axis=(0, 1)))
