"""Which axes of a module's inputs are free: told by the user, or found by running the module at other sizes.

Axes that have to change together share a letter. A trace at sizes that all differ then takes no two of them for the same, and an example of one row or
one word pins nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isqrt

import torch

from zen_edge.errors import ModuleError, OptionError
from zen_edge.exporters.own_module import OwnModule

Axis = tuple[str, int]  # an input and one of its axes
Declared = Mapping[str, Mapping[int, str]]

TRIALS = 200  # runs of the module at other sizes; axes not tried by then are taken to be fixed
LETTERS = ("B", "S", "T")


@dataclass(frozen=True)
class Axes:
    """letters: {letter: the axes that have its size}."""

    letters: dict[str, tuple[Axis, ...]]

    def of(self, name: str) -> dict[int, str]:
        """{axis of the input: its letter}"""
        return {axis: letter for letter, group in self.letters.items() for one, axis in group if one == name}

    def without(self, letters: Iterable[str]) -> Axes:
        gone = set(letters)
        return Axes({letter: group for letter, group in self.letters.items() if letter not in gone})

    def resized(self, inputs: Mapping[str, torch.Tensor], sizes: Mapping[str, int]) -> dict[str, torch.Tensor]:
        """`inputs` with the axes of each letter at a size, their values repeated or cut off."""
        found = dict(inputs)
        for letter, size in sizes.items():
            for name, axis in self.letters[letter]:
                found[name] = _resized(found[name], axis, size)
        return found

    def sizes(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, int]:
        return {letter: inputs[name].shape[axis] for letter, ((name, axis), *_) in self.letters.items()}


def find_axes(own: OwnModule) -> tuple[Axes, dict[str, torch.Tensor]]:
    """By running the module at other sizes: axes that may change alone first, then those of one size together; not features. Also returns the example at sizes
    that all differ, for the trace."""
    trials = _Trials(own)
    found: dict[tuple[Axis, ...], int] = {}
    by_size: dict[int, list[Axis]] = {}
    for name, value in own.inputs.items():
        for axis, size in enumerate(value.shape):
            by_size.setdefault(size, []).append((name, axis))
    for size, axes in sorted(by_size.items()):
        # What has size 1 is repeated where it meets another size: alone it says little, so the widest group goes first.
        for group in _same_place_first(axes) if size == 1 else _smallest_first(axes):
            if not any(axis in other for axis in group for other in found):
                for other in trials.sizes(size, found.values()):
                    if trials.runs({group: other}):
                        found[group] = other
                        break
    while found and not trials.runs(found):  # each alone, but not all at once
        found.popitem()
    for group in _widths(list(found), own):
        del found[group]
    axes = Axes(_lettered(list(found), own))
    return axes, axes.resized(own.inputs, {letter: found[group] for letter, group in axes.letters.items()})


def declared_axes(own: OwnModule, declared: Declared) -> Axes:
    """Those that the user names. OptionError for an input or axis that is not there, or sizes of one letter that differ."""
    letters: dict[str, list[Axis]] = {}
    for name, axes in declared.items():
        if name not in own.inputs:
            raise OptionError(f"dynamic names an input {name!r}; the module's are: {', '.join(own.inputs)}.")
        for axis, letter in dict(axes).items():
            rank = own.inputs[name].dim()
            if not isinstance(axis, int) or not -rank <= axis < rank:
                raise OptionError(f"dynamic names axis {axis!r} of {name!r}, which has {rank}: 0 to {rank - 1}.")
            if not isinstance(letter, str) or not letter.isidentifier():
                raise OptionError(f"dynamic calls axis {axis} of {name!r} {letter!r}; a name such as 'B' or 'length' is needed.")
            letters.setdefault(letter, []).append((name, axis % rank))
    axes = Axes({letter: tuple(group) for letter, group in letters.items()})
    for letter, group in axes.letters.items():
        if len({own.inputs[name].shape[axis] for name, axis in group}) > 1:
            told = ", ".join(f"{name} axis {axis}: {own.inputs[name].shape[axis]}" for name, axis in group)
            raise OptionError(f"dynamic gives one name, {letter!r}, to axes of different sizes in the example ({told}).")
    return axes


def traced_inputs(own: OwnModule, axes: Axes) -> dict[str, torch.Tensor]:
    """The example at sizes that all differ, from each other and from those of fixed axes. ModuleError where the module does not run at other sizes."""
    trials, found = _Trials(own), dict[tuple[Axis, ...], int]()
    for letter, size in axes.sizes(own.inputs).items():
        group = axes.letters[letter]
        try:
            found[group] = next(other for other in trials.sizes(size, found.values()) if trials.runs(found | {group: other}))
        except StopIteration:
            told = " and ".join(f"axis {axis} of {name!r}" for name, axis in group)
            raise ModuleError(f"dynamic calls {told} free ({letter}), but the module does not run at another size there: {trials.last}") from None
    return axes.resized(own.inputs, {letter: found[group] for letter, group in axes.letters.items()})


class _Trials:
    """Runs of the module at other sizes. last: why the last one failed."""

    def __init__(self, own: OwnModule) -> None:
        self._own, self._left, self.last = own, TRIALS, ""
        self._taken = {size for value in own.inputs.values() for size in value.shape}

    def sizes(self, size: int, chosen: Iterable[int]) -> Iterator[int]:
        """The nearest primes above and below that no other axis has."""
        taken = self._taken | set(chosen)
        primes = [n for n in range(2, 2 * max(taken) + 50) if n not in taken and all(n % d for d in range(2, isqrt(n) + 1))]
        yield from (
            near for near in (next((n for n in primes if n > max(size, 2)), None), next((n for n in reversed(primes) if n < size), None)) if near
        )

    def runs(self, sizes: Mapping[tuple[Axis, ...], int]) -> bool:
        if self._left <= 0:
            return False
        self._left -= 1
        axes = Axes({str(i): group for i, group in enumerate(sizes)})
        try:
            self._own(axes.resized(self._own.inputs, {str(i): size for i, size in enumerate(sizes.values())}))
        except ModuleError as error:
            self.last = str(error)
            return False
        return True


def _smallest_first(axes: list[Axis]) -> Iterator[tuple[Axis, ...]]:
    for count in range(1, len(axes) + 1):
        yield from itertools.combinations(axes, count)


def _same_place_first(axes: list[Axis]) -> Iterator[tuple[Axis, ...]]:
    """Those at one place of every input, the batch first; then each by itself."""
    for place in sorted({axis for _, axis in axes}):
        yield tuple(one for one in axes if one[1] == place)
    yield from ((one,) for one in axes)


def _widths(groups: list[tuple[Axis, ...]], own: OwnModule) -> list[tuple[Axis, ...]]:
    """Groups of free axes that are the features of words, which attention needs fixed: the last ones of (B,S,D), or those that several inputs share
    there. They are free only where nothing projects them, and stay as in the example unless the user names them."""
    last = [group for group in groups if all(_is_last(own.inputs[name], axis) for name, axis in group)]
    shared = any(len(group) > 1 for group in last)
    others = {axis for group in groups for axis in group}
    return [group for group in last if shared or all(own.inputs[name].dim() == 3 and (name, 1) in others for name, _ in group)]


def _is_last(x: torch.Tensor, axis: int) -> bool:
    return x.is_floating_point() and x.dim() >= 3 and axis == x.dim() - 1


def _resized(x: torch.Tensor, axis: int, size: int) -> torch.Tensor:
    return x.index_select(axis, torch.arange(size) % x.shape[axis])


def _lettered(groups: list[tuple[Axis, ...]], own: OwnModule) -> dict[str, tuple[Axis, ...]]:
    """B for what is first in the first input, S and T for the next, then the input and the axis."""
    order = list(own.inputs)
    groups = sorted(groups, key=lambda group: min((order.index(name), axis) for name, axis in group))
    batch = [group for group in groups if (order[0], 0) in group]
    rest = [group for group in groups if group not in batch]
    named = dict(zip(LETTERS[:1], batch, strict=False))
    for letter, group in itertools.zip_longest(LETTERS[1:], rest):
        if group is not None:
            name, axis = group[0]
            named[letter or f"{name}_{axis}"] = group
    return named
