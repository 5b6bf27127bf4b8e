"""A module of one's own: named arrays in, named arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_edge.attention_map import AttentionMap
from zen_edge.checked import quoted
from zen_edge.errors import BundleError, InputError, OptionError
from zen_edge.manifest import Manifest, Tensor
from zen_edge.module_names import shown_name
from zen_edge.runtimes.attention import Attending
from zen_edge.runtimes.large_session import LargeSession
from zen_edge.runtimes.pipelines.opened import Opened
from zen_edge.runtimes.providers import Device, find_provider
from zen_edge.runtimes.session import Session

Array = NDArray[Any]
NUMPY = {"float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"}


class Pipeline(Opened[Session]):
    """A loaded module: `pipeline(x=array)` gives a dict of arrays. Safe to share between threads; freed when it is let go of, or at the end of `with`.

    Arrays have the names, dtypes and shapes of `inputs`, where a letter stands for a size that is free, the same wherever the letter is.
    """

    def __init__(self, folder: Path, manifest: Manifest, *, device: Device = "cpu", threads: int | None = None) -> None:
        self.manifest = manifest
        graph = manifest.graph("module")
        self.inputs: tuple[Tensor, ...] = graph.inputs
        self.outputs: tuple[Tensor, ...] = graph.outputs
        for tensor in self.inputs:
            if tensor.dtype not in NUMPY:
                raise BundleError(f"the module's input {quoted(tensor.name)} is {tensor.dtype}, which this version does not take: export it again.")
        names = {tensor.name for tensor in self.inputs}
        self._shown = {tensor.name: shown_name(tensor.name, names) for tensor in self.outputs}
        self._model = LargeSession(folder / graph.file, find_provider(device), threads, graph)
        self._attending = Attending(folder, manifest, device, threads)

    def __call__(self, arrays: Mapping[str, Array] | None = None, /, **named: Array) -> dict[str, Array]:
        """The outputs by name. InputError for an array that is missing, unknown, or of another dtype or shape than the module takes."""
        session = self._open_model()
        found = session.run(self._feeds(arrays, named), list(self._shown))
        return {self._shown[name]: value.numpy() for name, value in found.items()}

    def attend(self, arrays: Mapping[str, Array] | None = None, /, *, row: int = 0, **named: Array) -> AttentionMap:
        """How the module attends in one row of the batch, from position to position: "self" where queries and keys have one length, otherwise "cross".

        Arrays as a call takes them; one that is called "row" is given by name in `arrays`. ZenEdgeError where the bundle was exported without the weights
        of attention, OptionError for a row that is not there.
        """
        self._open_model()
        found = self._attending.one_graph().weights(self._feeds(arrays, named))
        rows = min(len(weights) for weights in found.values())
        if isinstance(row, bool) or not isinstance(row, int) or not 0 <= row < rows:
            raise OptionError(f"row {row!r} is not there: the batch has rows 0 to {rows - 1}.")
        weights = {kind: value[row] for kind, value in found.items()}
        labels = {kind: (_positions(value.shape[2]), _positions(value.shape[3])) for kind, value in weights.items()}
        return AttentionMap((), (), (), weights, "", labels)

    def _feeds(self, arrays: Mapping[str, Array] | None, named: Mapping[str, Array]) -> dict[str, Array]:
        if arrays is not None and not isinstance(arrays, Mapping):
            raise InputError(f"expected arrays by name ({self._signature()}), got a value of type {type(arrays).__name__}.")
        return self._checked({**(arrays or {}), **named})

    def _signature(self) -> str:
        return ", ".join(f"{tensor.name} {_shape(tensor.shape)} {tensor.dtype}" for tensor in self.inputs)

    def _checked(self, given: Mapping[str, Array]) -> dict[str, Array]:
        known = {tensor.name for tensor in self.inputs}
        for name in given:
            if name not in known:
                raise InputError(f"there is no input {quoted(str(name))}; the module takes: {self._signature()}.")
        sizes: dict[str, tuple[int, str]] = {}  # of each letter, and the input that it was first seen in
        feeds = {}
        for tensor in self.inputs:
            if tensor.name not in given:
                raise InputError(f"the input {tensor.name!r} is missing; the module takes: {self._signature()}.")
            feeds[tensor.name] = self._array(tensor, given[tensor.name], sizes)
        return feeds

    def _array(self, tensor: Tensor, value: object, sizes: dict[str, tuple[int, str]]) -> Array:
        if not isinstance(value, np.ndarray | np.generic):
            raise InputError(
                f"{tensor.name!r} is a value of type {type(value).__name__}; expected an array of {tensor.dtype}, {_shape(tensor.shape)}."
            )
        array = np.asarray(value)
        if array.dtype != np.dtype(tensor.dtype):
            raise InputError(f"{tensor.name!r} is {array.dtype}; expected {tensor.dtype}: {tensor.name}.astype({tensor.dtype!r}) makes it so.")
        if array.ndim != len(tensor.shape):
            raise InputError(f"{tensor.name!r} has the shape {list(array.shape)}; expected {_shape(tensor.shape)}.")
        for axis, (size, expected) in enumerate(zip(array.shape, tensor.shape, strict=True)):
            if isinstance(expected, int):
                if size != expected:
                    raise InputError(
                        f"{tensor.name!r} has the shape {list(array.shape)}; expected {_shape(tensor.shape)}: axis {axis} is {expected}."
                    )
                continue
            first, where = sizes.setdefault(expected, (size, tensor.name))
            if size != first:
                told = f"{expected} is {first} in {where!r} and {size} here"
                raise InputError(f"{tensor.name!r} has the shape {list(array.shape)}; expected {_shape(tensor.shape)}: {told}.")
            most = self.manifest.limits.get(f"max_{expected}")
            if size == 0 or (most is not None and size > most):
                bound = "at least 1" if size == 0 else f"at most {most}"
                raise InputError(f"{tensor.name!r} has the shape {list(array.shape)}; {expected} (axis {axis}) should be {bound}.")
        return np.ascontiguousarray(array)


def _positions(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def _shape(shape: tuple[int | str, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
