"""What leaves the model of quantized bundles against what leaves fp32's, on lines and along the words that fp32 says of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zen_edge.check_quantized import Probe, probe
from zen_edge.check_steps import StepProbe
from zen_edge.parity import cosine
from zen_edge.recipe import Recipe

Array = npt.NDArray[Any]
Sources = Callable[[int], Sequence[Any]]
Layers = Mapping[str, Collection[tuple[str, int | None]]]
"""{graph: the groups that have weights in it, and of which layer}"""
SOME = {False: 32, True: 4}  # lines, and recordings, that a part alone is tried on
SIDE_BY_SIDE = {False: 64, True: 8}


@dataclass(frozen=True)
class Likeness:
    """cosine: the lowest of the outputs. same: the lowest share of their `rows` with the same best entry."""

    cosine: float
    same: float
    rows: int


@dataclass
class _Tried:
    """probe: what the graphs are given. cross: what fp32's encoder hands on, kept where it is used again."""

    probe: Probe | StepProbe
    cross: Mapping[str, Array] | None = None
    expected: dict[str, Array] | None = None


@dataclass
class Probed:
    """bundle: in fp32. sources: the lines to search on (0) or those held out (1), as the model reads or hears them."""

    bundle: Path
    heard: bool
    layers: Layers
    sources: Sources
    _some: list[_Tried] = field(default_factory=list)
    _halves: dict[int, list[_Tried]] = field(default_factory=dict)

    def some(self, folder: Path, recipe: Recipe) -> Likeness:
        """On a few of the lines to search on."""
        if not self._some:
            tried = self._try(self.sources(0)[: SOME[self.heard]])
            tried.expected = _last(tried.probe.outputs(self.bundle))
            tried.cross = None if _of_one_graph(tried.probe) else tried.probe.cross(self.bundle)
            self._some = [tried]
        (tried,) = self._some
        assert tried.expected is not None
        return _likeness(tried.expected, self._outputs(tried, folder, recipe))

    def all(self, folder: Path, recipe: Recipe, half: int) -> Likeness:
        """On every line of a half, those of one length side by side."""
        if half not in self._halves:
            lines, size = sorted(self.sources(half), key=_length), SIDE_BY_SIDE[self.heard]
            self._halves[half] = [self._try(lines[i : i + size]) for i in range(0, len(lines), size)]
        found = [_likeness(_last(tried.probe.outputs(self.bundle)), self._outputs(tried, folder, recipe)) for tried in self._halves[half]]
        rows = sum(one.rows for one in found)
        return Likeness(min(one.cosine for one in found), sum(one.same * one.rows for one in found) / rows, rows)

    def _try(self, sources: Sequence[Any]) -> _Tried:
        return _Tried(probe(self.bundle, sources))

    def _outputs(self, tried: _Tried, folder: Path, recipe: Recipe) -> dict[str, Array]:
        """Without another run of an encoder that is fp32's."""
        if tried.cross is None or recipe.is_half or any(recipe.precision_of(*part) != "fp32" for part in self.layers.get("encoder", ())):
            return _last(tried.probe.outputs(folder))
        return _last(tried.probe.decoded(folder, tried.cross))


def _of_one_graph(tried: Probe | StepProbe) -> bool:
    return tried.forced is None


def _length(source: Any) -> int:
    """Of a text, a question with its context, or a recording."""
    return sum(map(len, source)) if isinstance(source, tuple) else len(source)


def _likeness(expected: Mapping[str, Array], found: Mapping[str, Array]) -> Likeness:
    pairs = [(expected[name], value) for name, value in found.items()]
    same = [float((before.argmax(axis=-1) == after.argmax(axis=-1)).mean()) for before, after in pairs]
    return Likeness(min(cosine(before.ravel(), after.ravel()) for before, after in pairs), min(same), max(before[..., 0].size for before, _ in pairs))


def _last(outputs: Mapping[str, Array]) -> dict[str, Array]:
    """What leaves the model: a decoder's scores, or what the only graph gives; whole numbers are left out."""
    named = {name: value for name, value in outputs.items() if not name.startswith("encoder.cross_") and value.dtype.kind == "f"}
    return {name: value.astype(np.float64) for name, value in named.items()}
