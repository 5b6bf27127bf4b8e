"""One graph of a bundle in ONNX Runtime."""

from __future__ import annotations

import importlib
import itertools
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_edge.errors import BundleError, ZenEdgeError
from zen_edge.runtimes.apart import Apart
from zen_edge.runtimes.binding import DTYPES, Binding, Recording, Replay
from zen_edge.runtimes.cores import usable_cores
from zen_edge.runtimes.cpu import cpu_flags, saturates_int8
from zen_edge.runtimes.installed import build, onnxruntime
from zen_edge.runtimes.places import Places
from zen_edge.runtimes.providers import Provider, why_not

Shapes = Mapping[str, tuple[int, ...]]

# Each entry with its reason.
SETTINGS = {
    "session.force_spinning_stop": "1",  # threads spin inside a call, where it saves wake-ups, and sleep between calls
    "session.set_denormal_as_zero": "1",  # padding decays into denormals, which are a hundred times slower
    "session.record_ep_graph_assignment_info": "1",  # for `placement`: half a millisecond of loading a graph of eighty nodes
}

MOST_RECORDED = 64  # runs of a session; each keeps memory of the device, which ONNX Runtime gives back when the session ends
UNRECORDED = -1
UNPACKED = {"session.disable_prepacking": "1"}


def settings() -> dict[str, str]:
    """ONNX Runtime's session settings for this machine."""
    # Kernels whose int8 sums do not saturate, for processors on which the others' do. With VNNI they take twice as long for nothing.
    exact = {"session.x64quantprecision": "1"} if saturates_int8(cpu_flags()[1]) else {}
    return SETTINGS | exact


class Session:
    """One graph, ready to run. Safe to share between threads: a run keeps nothing in it."""

    def __init__(self, path: Path, provider: Provider, threads: int | None, graph: bytes | None = None, *, packed: bool = True) -> None:
        """threads: for the work inside one operator; None: as many as the process may use. graph: run these bytes in the place of the file's;
        external data is still read from beside it. packed: copy weights in the order in which products read them; otherwise external data is mapped, not read. BundleError if the file is no such graph."""
        ort = onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or usable_cores()
        self._apart = Apart(options.intra_op_num_threads)
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors are raised, and would be printed as well
        options.enable_mem_pattern = False  # shapes change from step to step; a pattern for each would only grow
        for name, value in (settings() | self._apart.settings | ({} if packed else UNPACKED)).items():
            options.add_session_config_entry(name, value)
        chain = provider.chain()
        try:
            if graph is not None:
                options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
            self._session = ort.InferenceSession(
                graph or str(path), options, providers=chain, disabled_optimizers=set(provider.slower), enable_fallback=False
            )
        except Exception as error:
            if provider.device != "cpu":
                raise ZenEdgeError(f"{path.name} cannot be loaded on {provider.name}: {_first_line(error)}; try --device cpu.") from error
            raise BundleError(f"{path.name} cannot be loaded: {_first_line(error)}; copy the bundle or export it again.") from error
        self._session.disable_fallback()  # a provider that fails must not be replaced in silence
        started = self._session.get_providers()
        for name, _ in chain:
            if name not in started:
                reason = why_not(name, provider.device_id) or f"{build()} does not say why; see `zen-edge doctor`"
                raise ZenEdgeError(f"{name} could not start, and no other may take its place: {reason}; or use --device cpu.")
        self.provider = provider
        self.name = path.name
        self.inputs = tuple(value.name for value in self._session.get_inputs())
        self._halves = frozenset(value.name for value in self._session.get_inputs() if value.type == "tensor(float16)")
        self.outputs = tuple(value.name for value in self._session.get_outputs())
        free = any(not isinstance(size, int) for value in (*self._session.get_inputs(), *self._session.get_outputs()) for size in value.shape)
        self._ort, self._numbers = ort, itertools.count(1)
        self._run_options = self._options(UNRECORDED) if provider.cuda_graphs and free else ort.RunOptions()
        self._cpu, self._device = (
            ort.OrtDevice.make(name, number)._get_c_device() for name, number in (("cpu", 0), (provider.memory, provider.device_id))
        )
        bindings = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")  # what ONNX Runtime's Python classes wrap
        self._vector, self._lend = bindings.OrtValueVector, bindings.OrtValue.ortvalue_from_numpy
        self._allocate = ort.OrtValue.ortvalue_from_shape_and_type
        held = self._session._sess
        self._bound: Binding | Replay | None = None
        self._bindings = bindings
        if provider.cuda_graphs and not free:
            self._bound = Replay(held, bindings, self._run_options, self._place)
        elif provider.binds:
            places = Places(lambda size: self._place((size,), np.uint8))
            self._bound = Binding(held, bindings, self._run_options, lambda array: self._lend(array, self._cpu), self._cpu, self._device, places)

    @property
    def sessions(self) -> tuple[Session, ...]:
        return (self,)

    def placement(self) -> dict[str, int]:
        """How many nodes each provider runs, of the graph as ONNX Runtime fused it. ZenEdgeError where this ONNX Runtime does not tell."""
        if not hasattr(self._session, "get_provider_graph_assignment_info"):
            raise ZenEdgeError(f"{build()} does not tell which provider runs a node: install a newer one.")
        counts: Counter[str] = Counter()
        for part in self._session.get_provider_graph_assignment_info():
            counts[str(part.ep_name)] += len(part.get_nodes())
        return dict(counts)

    def _place(self, shape: Sequence[int], dtype: Any) -> Any:
        return self._allocate(shape, dtype, self.provider.memory, self.provider.device_id)._ortvalue

    def empty(self, shape: Sequence[int], like: str) -> Any:
        """Numbers of the type of the input `like`, not set yet, where the provider works, as a value that a session takes."""
        return self._place(shape, np.float16 if like in self._halves else np.float32)

    def place_like(self, name: str, shape: Sequence[int]) -> Any:
        """Memory for the input or output `name`, not set yet, where the provider works."""
        meta = next(value for value in (*self._session.get_inputs(), *self._session.get_outputs()) if value.name == name)
        return self._place(shape, DTYPES[meta.type])

    def on_cpu(self, array: NDArray[Any]) -> Any:
        """A copy of `array` as a value, for an input that is read on the CPU or brought to the device by the run."""
        value = self._allocate(array.shape, array.dtype.type, "cpu", 0)._ortvalue
        value.update_inplace(np.ascontiguousarray(array))
        return value

    def record(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any], *, again: bool) -> Callable[[], None]:
        """A run from and to these values, as often as it is called. again: it will be, so that a provider that records should."""
        number = next(self._numbers) if again and self.provider.cuda_graphs else MOST_RECORDED + 1
        run = Recording(self._session._sess, self._bindings, self._options, inputs, outputs, number if number <= MOST_RECORDED else None)

        def checked() -> None:
            try:
                run()
            except Exception as error:
                raise self._failed(error) from error

        return checked

    def _options(self, number: int) -> Any:
        options = self._ort.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(number))
        return options

    def run(
        self, feeds: Mapping[str, Any], outputs: Sequence[str], on_device: frozenset[str] = frozenset(), shapes: Shapes | None = None
    ) -> dict[str, Any]:
        """feeds: arrays, or values of `empty` or of a run before, by name; arrays for inputs in half precision may be single. Returns values by name, each with a `numpy()`: those in `on_device`
        stay where the provider works, others come to the CPU. shapes: of outputs that stay there, written where earlier ones lay that nobody holds any more, as far as
        the provider has memory of its own.

        `run_with_ortvaluevector` costs the fewest microseconds around the operators of all ways to run (13 where a fresh IOBinding costs 53, for a
        decoder of two layers).
        """
        if self._halves:
            feeds = {name: _half(value) if name in self._halves else value for name, value in feeds.items()}
        if self._bound is not None:
            return self._run_bound(self._bound, feeds, outputs, on_device, shapes)
        given, found = self._vector(), self._vector()
        for value in feeds.values():  # an array lends its memory for the time of the run
            given.push_back(self._lend(value, self._cpu) if isinstance(value, np.ndarray) else value)
        devices = [self._device if name in on_device else self._cpu for name in outputs]
        alone = self._apart.enter()
        try:
            self._session.run_with_ortvaluevector(self._run_options, list(feeds), given, outputs, found, devices)
        except Exception as error:
            raise self._failed(error) from error
        finally:
            self._apart.leave(alone)
        # Not strict: to ask the vector for one value more than it has costs an exception in C++, 25 to 60 us.
        return dict(zip(outputs, found, strict=False))

    def _run_bound(
        self, bound: Binding | Replay, feeds: Mapping[str, Any], outputs: Sequence[str], on_device: frozenset[str], shapes: Shapes | None
    ) -> dict[str, Any]:
        try:
            return dict(zip(outputs, bound.run(feeds, outputs, on_device, shapes), strict=True))
        except Exception as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> ZenEdgeError:
        if self.provider.device != "cpu":
            return ZenEdgeError(f"{self.name} failed to run on {self.provider.name}: {_first_line(error)}; try --device cpu.")
        return BundleError(f"{self.name} failed to run: {_first_line(error)}; check the bundle with --verify, or export it again.")


def _half(value: Any) -> Any:
    return value.astype(np.float16) if isinstance(value, np.ndarray) else value


def _first_line(error: BaseException) -> str:
    text = re.sub(r"^\S+\.(cc|cpp|h):\d+ .*?\) (?=[A-Z])", "", " ".join(str(error).split()))  # where in ONNX Runtime it was raised
    return text if len(text) <= 300 else f"{text[:300]}..."
