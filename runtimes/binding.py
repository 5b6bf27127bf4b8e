"""Runs of a session whose provider has memory of its own: what stays between runs stays there, and only what is read comes to the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from threading import Lock
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zen_edge.errors import OptionError
from zen_edge.manifest import STEP, Graph, Manifest
from zen_edge.runtimes.places import Place, Placed, Places

DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}


class Binding:
    """A fresh binding for every run, so that a session can be shared between threads.

    Arrays go to where the operators that read them work: what only says a size stays on the CPU. Outputs are made where they are asked for.
    """

    def __init__(
        self, session: Any, bindings: ModuleType, run_options: Any, lend: Callable[[NDArray[Any]], Any], cpu: Any, device: Any, places: Places
    ) -> None:
        self._session, self._binding, self._run_options = session, bindings.SessionIOBinding, run_options
        self._lend, self._cpu, self._device, self._places = lend, cpu, device, places
        self._types = {value.name: np.dtype(DTYPES[value.type]) for value in session.outputs_meta if value.type in DTYPES}

    def run(
        self, feeds: Mapping[str, Any], outputs: Sequence[str], on_device: frozenset[str], shapes: Mapping[str, tuple[int, ...]] | None = None
    ) -> list[Any]:
        """As `Session.run`; the values in the order of `outputs`."""
        bound = self._binding(self._session)
        for name, value in feeds.items():
            given = value.value if isinstance(value, Placed) else value
            bound.bind_ortvalue_input(name, self._lend(given) if isinstance(given, np.ndarray) else given)
        taken: dict[str, Place] = {}
        for name in outputs:
            shape = (shapes or {}).get(name, ())
            if size := prod(shape) * self._types[name].itemsize if shape else 0:
                taken[name] = self._places.take(size)
                bound.bind_output(name, self._device, self._types[name].type, shape, taken[name].begin)
            else:
                bound.bind_output(name, self._device if name in on_device else self._cpu)
        self._session.run_with_iobinding(bound, self._run_options)
        found = zip(outputs, bound.get_outputs(), strict=False)  # as in `Session.run`
        return [Placed(value, taken[name], self._places) if name in taken else value for name, value in found]


class Kept(NamedTuple):
    """An output that was copied from where the next run writes its own."""

    array: NDArray[Any]

    def numpy(self) -> NDArray[Any]:
        return self.array


class Replay:
    """Runs of a graph with fixed shapes in places that never change, as a recorded CUDA graph needs them: arrays are written into the same memory, and
    the outputs read from the same. One run at a time."""

    def __init__(self, session: Any, bindings: ModuleType, run_options: Any, allocate: Callable[[Sequence[int], Any], Any]) -> None:
        """allocate: memory on the device by shape and dtype."""
        self._session, self._run_options, self._lock = session, run_options, Lock()
        self._inputs, self._outputs = (
            {value.name: allocate(value.shape, DTYPES[value.type]) for value in meta} for meta in (session.inputs_meta, session.outputs_meta)
        )
        self._bound = bindings.SessionIOBinding(session)
        for name, value in self._inputs.items():
            self._bound.bind_ortvalue_input(name, value)
        for name, value in self._outputs.items():
            self._bound.bind_ortvalue_output(name, value)

    def run(
        self, feeds: Mapping[str, Any], outputs: Sequence[str], on_device: frozenset[str], shapes: Mapping[str, tuple[int, ...]] | None = None
    ) -> list[Any]:
        """As `Binding.run`, with arrays alone; everything that is asked for comes to the CPU."""
        with self._lock:
            for name, array in feeds.items():
                self._inputs[name].update_inplace(np.ascontiguousarray(array))
            self._session.run_with_iobinding(self._bound, self._run_options)
            return [Kept(np.array(self._outputs[name].numpy())) for name in outputs]


class Recording:
    """A run of a graph from and to the same places, every time. From the second time on a provider that records does so under `number`, and replays it; None: never."""

    def __init__(
        self,
        session: Any,
        bindings: ModuleType,
        options: Callable[[int], Any],
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
        number: int | None,
    ) -> None:
        """options: of a run that is recorded under a number, -1 for one that is not. inputs, outputs: values by name."""
        self._session, self._options, self._number, self._times = session, options, number, 0
        self._held = inputs, outputs
        self._run_options = options(-1)
        self._bound = bindings.SessionIOBinding(session)
        for name, value in inputs.items():
            self._bound.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            self._bound.bind_ortvalue_output(name, value)

    def __call__(self) -> None:
        self._times += 1
        if self._times == 2 and self._number is not None:
            self._run_options = self._options(self._number)
        self._session.run_with_iobinding(self._bound, self._run_options)


def require_recordable(manifest: Manifest) -> None:
    """OptionError where runs of the bundle cannot be recorded, which says why."""
    if STEP in manifest.files:
        return
    decoder = next((graph for graph in manifest.graphs if graph.name == "decoder"), None)
    if decoder is not None and any(tensor.name.startswith("past_key_") for tensor in decoder.inputs):
        if not manifest.unrecorded:
            how = "the CPU" if manifest.device == "cpu" else f"{manifest.device} by an older version"
            raise OptionError(
                f"the bundle was exported for {how}, without a step for CUDA graphs: export it with --device cuda, or leave cuda_graphs out."
            )
        raise OptionError(f"its steps cannot be recorded as CUDA graphs: {manifest.unrecorded}; leave cuda_graphs out.")
    require_fixed_shapes(manifest.graphs)


def require_fixed_shapes(graphs: Iterable[Graph]) -> None:
    """OptionError where a graph has a free axis, so that its runs cannot be replayed."""
    for graph in graphs:
        free = [tensor for tensor in (*graph.inputs, *graph.outputs) if any(isinstance(size, str) for size in tensor.shape)]
        if free:
            named = ", ".join(f"{tensor.name} [{', '.join(map(str, tensor.shape))}]" for tensor in free[:2])
            grows = ": keys and values grow with every word" if any(tensor.name.startswith("past_") for tensor in free) else ""
            raise OptionError(
                f"CUDA graphs replay a run in the same places, so every shape must be fixed, and the {graph.name} has {named}"
                f"{f' and {len(free) - 2} more' if len(free) > 2 else ''}{grows}; leave cuda_graphs out."
            )
