"""Execution providers of ONNX Runtime: which one a device means, what its sessions are told, and why one cannot start."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from zen_edge.errors import MissingDependencyError, OptionError
from zen_edge.manifest import Graph
from zen_edge.runtimes.installed import build, onnxruntime
from zen_edge.runtimes.libraries import advice, missing
from zen_edge.runtimes.nvidia import Reason, driver, why_no_gpu

SUFFIX = "ExecutionProvider"

Given = str | tuple[str, Mapping[str, Any]]
"""A provider as ONNX Runtime takes it: its name, or its name and its options."""


@dataclass(frozen=True)
class Provider:
    """Where the graphs of a bundle run.

    device: as on the command line, or the provider's own name. memory: where tensors that stay between steps live, as ONNX Runtime names it. options: the
    provider's. slower: ONNX Runtime's own fusions that are left out, whose kernels there are slower than what they replace. then: the providers that take what the first
    does not. device_id: which of several. why: how it was chosen. binds: whether runs bind their values to memory of the device, which is faster
    where that is not the CPU's. cuda_graphs: record a run once and play it again.
    """

    device: str
    name: str
    memory: str
    options: Mapping[str, str]
    slower: tuple[str, ...] = ()
    then: tuple[tuple[str, Mapping[str, str]], ...] = ()
    device_id: int = 0
    why: str = ""
    binds: bool = False
    cuda_graphs: bool = False

    def chain(self) -> list[tuple[str, dict[str, str]]]:
        """As a session takes them."""
        first = {**self.options, "enable_cuda_graph": "1"} if self.cuda_graphs else self.options
        return [(name, dict(options)) for name, options in ((self.name, first), *self.then)]


Device = str | Provider

CUDA = Provider(
    "cuda",
    "CUDAExecutionProvider",
    "cuda",
    {
        "arena_extend_strategy": "kSameAsRequested",  # doubling would take memory that no step needs
        "use_tf32": "0",  # products of 10 bits of fraction are not fp32's: parity would be lost
        "cudnn_conv_algo_search": "HEURISTIC",  # the default tries every algorithm again whenever a length is new
    },
    binds=True,
)
PROVIDERS = (CUDA, Provider("cpu", "CPUExecutionProvider", "cpu", {}, slower=("SkipLayerNormFusion", "BiasGeluFusion")))
PACKAGES = {"cuda": "gpu", "tensorrt": "gpu", "openvino": "openvino", "dml": "directml", "qnn": "qnn"}  # builds on PyPI: onnxruntime-...
ON_CUDA = (CUDA.name, "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")  # those that compute where CUDA's memory is


def find_provider(device: Device, device_id: int = 0) -> Provider:
    """The provider for "cpu", "cuda" or "auto": the first that can start. Never another one than asked for. MissingDependencyError, which says what to
    install, if it cannot start here; OptionError for an unknown device."""
    if isinstance(device, Provider):
        return device
    if isinstance(device_id, bool) or not isinstance(device_id, int) or device_id < 0:
        raise OptionError(f"device_id must be a whole number from 0, not {device_id!r}.")
    known = {row.device: row for row in PROVIDERS}
    if device == "auto":
        reasons: list[str] = []
        for row in PROVIDERS[:-1]:
            reason = why_not(row.name, device_id)
            if reason is None:
                return _numbered(replace(row, why=f"auto took {row.device}:{device_id}, which can start."), device_id)
            reasons.append(f"{reason}.")
        return replace(PROVIDERS[-1], why=f"auto took {PROVIDERS[-1].device}: {' '.join(reasons)}")
    if device not in known:
        raise OptionError(f"device {device!r} is not known; there are: auto, {', '.join(known)}.")
    row = known[device]
    if device_id and row.memory == "cpu":
        raise OptionError(f"device_id={device_id} chooses among GPUs, and the device is {device}: leave it out.")
    reason = why_not(row.name, device_id)
    if reason is not None:
        raise MissingDependencyError(f"{reason}; or use --device cpu.")
    return _numbered(replace(row, why=f"{device} was asked for."), device_id)


def for_graph(provider: Provider, graph: Graph) -> Provider:
    """`provider`, without ONNX Runtime's fusion that ends the process where a graph has numbers in half precision: layouts of convolutions for the CPU, tried in
    every graph, read what casting its weights left behind (1.32.0: a segmentation fault as a session opens, of FSMT's and Parakeet's graphs among others)."""
    half = any("float16" in kind.inputs for kind in graph.nodes)
    return replace(provider, slower=(*provider.slower, "NchwcTransformer")) if half else provider


def _numbered(row: Provider, device_id: int) -> Provider:
    return row if row.memory == "cpu" else replace(row, device_id=device_id, options={**row.options, "device_id": str(device_id)})


def given_providers(given: Sequence[Given]) -> Provider:
    """Those that a user names, in the order in which they may take nodes; what none of them takes, the CPU runs. Names may leave out "ExecutionProvider".
    OptionError for a name that this build does not offer, MissingDependencyError for one that cannot start."""
    if isinstance(given, str) or not given:
        raise OptionError(f"providers takes a list of names or of (name, options), such as [{PROVIDERS[-1].name!r}], not {given!r}.")
    offered = [str(name) for name in onnxruntime().get_available_providers()]
    chain = []
    for one in given:
        name, options = one if isinstance(one, tuple) and len(one) == 2 else (one, {})
        if not isinstance(name, str) or not isinstance(options, Mapping):
            raise OptionError(f"a provider is a name or (name, options), not {one!r}.")
        full = _offered(name, offered)
        if full == PROVIDERS[-1].name and options:
            raise OptionError(
                f"{full} takes no options, and would leave {', '.join(map(str, options))} out without a word: threads are told by `threads`."
            )
        chain.append((full, {str(key): str(value) for key, value in options.items()}))
    for name, options in chain:
        reason = why_not(name, int(options["device_id"]) if options.get("device_id", "").isdecimal() else 0)
        if reason is not None:
            raise MissingDependencyError(f"{reason}.")
    (name, options), *others = chain
    row = next((row for row in PROVIDERS if row.name == name), None)
    why = f"{', '.join(name for name, _ in chain)} asked for."
    if row is None:
        on_cuda = name in ON_CUDA
        row = Provider(name.removesuffix(SUFFIX).lower(), name, "cuda" if on_cuda else "cpu", {}, binds=on_cuda)
    number = int(options.get("device_id", "0")) if row.memory == "cuda" and options.get("device_id", "0").isdecimal() else 0
    return replace(row, options={**row.options, **options}, then=tuple(others), device_id=number, why=why)


def _offered(name: str, offered: Sequence[str]) -> str:
    """The full name of what this build offers. OptionError, which lists what there is."""
    short = {full.removesuffix(SUFFIX).lower(): full for full in offered}
    found = short.get(name.removesuffix(SUFFIX).lower())
    if found is None:
        near = get_close_matches(name.removesuffix(SUFFIX).lower(), short, n=1)
        hint = f" (did you mean {short[near[0]]}?)" if near else ""
        package = PACKAGES.get(name.removesuffix(SUFFIX).lower())
        todo = f". For it: pip uninstall -y {build().split()[0]}, then pip install onnxruntime-{package}" if package else ""
        raise OptionError(f"{build()} offers no provider {name!r}{hint}; there are: {', '.join(offered)}{todo}.")
    return found


def why_not(name: str, device_id: int = 0) -> Reason | None:
    """What keeps a provider from starting on this machine; None where nothing is known to."""
    module = onnxruntime()
    offered = [str(one) for one in module.get_available_providers()]
    if name not in offered:
        gpu = f'pip uninstall -y {build().split()[0]}, then pip install "zen-edge[gpu]"'
        return Reason(f"{build()} has no {name} (only {', '.join(offered)})", gpu if name == CUDA.name else "install a build that has it")
    cuda = str(getattr(module, "cuda_version", "") or "")
    if name in ON_CUDA:
        # Finds CUDA's libraries among pip's packages, where the system's loader does not look. It prints what it does not find.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(OSError, RuntimeError):
            module.preload_dlls()
    library = provider_library(Path(str(module.__file__)).parent, name)
    lacking = () if library is None else missing(library, cuda.partition(".")[0])
    if lacking:
        made = f", made for CUDA {cuda}," if cuda and name in ON_CUDA else ""
        said = f"{name} of {build()}{made} cannot start, because {', '.join(lacking)} cannot be loaded"
        return Reason(said, advice(lacking, cuda.partition(".")[0]))
    return why_no_gpu(driver(), cuda, device_id) if name in ON_CUDA else None


def provider_library(package: Path, name: str) -> Path | None:
    """The shared library of a provider; None where it is part of ONNX Runtime's own."""
    stem = name.removesuffix(SUFFIX).lower()
    return next((path for path in (package / "capi").glob(f"*onnxruntime_providers_{stem}.*") if path.suffix in (".so", ".dll")), None)
