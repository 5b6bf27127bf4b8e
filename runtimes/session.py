"""ONNX Runtime, imported here and nowhere else."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from zen_edge.errors import BundleError, MissingDependencyError, ZenEdgeError
from zen_edge.runtimes.cores import usable_cores
from zen_edge.runtimes.cpu import cpu_flags, saturates_int8

BUILDS = ("onnxruntime", "onnxruntime-gpu")


@dataclass(frozen=True)
class Provider:
    """An execution provider. device: as on the command line; memory: where tensors that stay between steps live. slower: ONNX Runtime's own
    fusions whose kernels there are slower than what they replace."""

    device: str
    name: str
    memory: str
    options: Mapping[str, str]
    slower: tuple[str, ...] = ()


PROVIDERS = (
    Provider("cuda", "CUDAExecutionProvider", "cuda", {"arena_extend_strategy": "kSameAsRequested"}),
    Provider("cpu", "CPUExecutionProvider", "cpu", {}, slower=("SkipLayerNormFusion", "BiasGeluFusion")),
)

# Each entry with its reason.
SETTINGS = {
    "session.force_spinning_stop": "1",  # threads spin inside a call, where it saves wake-ups, and sleep between calls
    "session.set_denormal_as_zero": "1",  # padding decays into denormals, which are a hundred times slower
}


def settings() -> dict[str, str]:
    """ONNX Runtime's session settings for this machine."""
    # Kernels whose int8 sums do not saturate, for processors on which the others' do. With VNNI they take twice as long for nothing.
    exact = {"session.x64quantprecision": "1"} if saturates_int8(cpu_flags()[1]) else {}
    return SETTINGS | exact


def onnxruntime() -> ModuleType:
    """The module, with its usage events off. MissingDependencyError if no build of it is installed, or both."""
    found = [name for name in BUILDS if _installed(name)]
    if len(found) == 2:
        raise MissingDependencyError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: pip uninstall -y onnxruntime onnxruntime-gpu, then "
            'pip install "zen-edge[cpu]" or "zen-edge[gpu]".'
        )
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # official builds since 1.29 send usage events otherwise
    try:
        import onnxruntime as module
    except ImportError as error:
        if found:
            raise MissingDependencyError(
                f"{found[0]} is installed but cannot be imported ({' '.join(str(error).split())}): reinstall it, or zen-edge[cpu]."
            ) from error
        raise MissingDependencyError('no ONNX Runtime is installed: pip install "zen-edge[cpu]", or "zen-edge[gpu]" for an NVIDIA GPU.') from error
    return module  # type: ignore[no-any-return]


def _installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def find_provider(device: str) -> Provider:
    """The provider for "cpu", "cuda" or "auto" (the first that this build has). Never another one than asked for."""
    available = onnxruntime().get_available_providers()
    candidates = [row for row in PROVIDERS if device in ("auto", row.device)]
    for row in candidates:
        if row.name in available:
            return row
    if not candidates:
        raise ZenEdgeError(f"device {device!r} is not known; there are: auto, {', '.join(row.device for row in PROVIDERS)}.")
    raise MissingDependencyError(
        f'this ONNX Runtime has no {candidates[0].name} (only {", ".join(available)}): pip install "zen-edge[gpu]" in place of zen-edge[cpu], or use --device cpu.'
    )


class Session:
    """One graph, ready to run. Safe to share between threads: a run keeps nothing in it."""

    def __init__(self, path: Path, provider: Provider, threads: int | None, graph: bytes | None = None) -> None:
        """threads: for the work inside one operator; None: as many as the process may use. graph: run these bytes in the place of the file's;
        external data is still read from beside it. BundleError if the file is no such graph."""
        ort = onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or usable_cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors are raised, and would be printed as well
        options.enable_mem_pattern = False  # shapes change from step to step; a pattern for each would only grow
        for name, value in settings().items():
            options.add_session_config_entry(name, value)
        try:
            if graph is not None:
                options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
            self._session = ort.InferenceSession(
                graph or str(path), options, providers=[(provider.name, dict(provider.options))], disabled_optimizers=set(provider.slower)
            )
        except Exception as error:
            raise BundleError(f"{path.name} cannot be loaded: {_first_line(error)}; copy the bundle or export it again.") from error
        self._session.disable_fallback()  # a provider that fails must not be replaced in silence
        if provider.name not in self._session.get_providers():
            raise ZenEdgeError(f"{provider.name} could not start, and the CPU was not asked for: see `zen-edge doctor`, or use --device cpu.")
        self.name = path.name
        self.memory = provider.memory
        self.inputs = tuple(value.name for value in self._session.get_inputs())
        self._halves = frozenset(value.name for value in self._session.get_inputs() if value.type == "tensor(float16)")
        self.outputs = tuple(value.name for value in self._session.get_outputs())
        self._run_options = ort.RunOptions()
        self._cpu, self._device = (ort.OrtDevice.make(name, 0)._get_c_device() for name in ("cpu", provider.memory))
        bindings = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")  # what ONNX Runtime's Python classes wrap
        self._vector, self._lend = bindings.OrtValueVector, bindings.OrtValue.ortvalue_from_numpy
        self._allocate = ort.OrtValue.ortvalue_from_shape_and_type

    def empty(self, shape: Sequence[int], like: str) -> Any:
        """Numbers of the type of the input `like`, not set yet, where the provider works, as a value that a session takes."""
        return self._allocate(shape, np.float16 if like in self._halves else np.float32, self.memory, 0)._ortvalue

    def run(self, feeds: Mapping[str, Any], outputs: Sequence[str], on_device: frozenset[str] = frozenset()) -> dict[str, Any]:
        """feeds: arrays, or values of `empty` or of a run before, by name; arrays for inputs in half precision may be single. Returns values by name, each with a `numpy()`: those in `on_device`
        stay where the provider works, others come to the CPU.

        `run_with_ortvaluevector` costs the fewest microseconds around the operators of all ways to run (13 where a fresh IOBinding costs 53, for a
        decoder of two layers).
        """
        given, found = self._vector(), self._vector()
        if self._halves:
            feeds = {name: _half(value) if name in self._halves else value for name, value in feeds.items()}
        for value in feeds.values():  # an array lends its memory for the time of the run
            given.push_back(self._lend(value, self._cpu) if isinstance(value, np.ndarray) else value)
        devices = [self._device if name in on_device else self._cpu for name in outputs]
        try:
            self._session.run_with_ortvaluevector(self._run_options, list(feeds), given, outputs, found, devices)
        except Exception as error:
            raise BundleError(f"{self.name} failed to run: {_first_line(error)}; check the bundle with --verify, or export it again.") from error
        return dict(zip(outputs, found, strict=True))


def _half(value: Any) -> Any:
    return value.astype(np.float16) if isinstance(value, np.ndarray) else value


def _first_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}..."
