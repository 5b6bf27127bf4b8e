"""What this machine has to run bundles with, and what to do about what it lacks."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from zen_edge.errors import MissingDependencyError, ZenEdgeError
from zen_edge.runtimes.cores import cgroup_quota, usable_cores
from zen_edge.runtimes.cpu import CPU_FEATURES, cpu_flags, saturates_int8
from zen_edge.runtimes.installed import BUILDS, onnxruntime
from zen_edge.runtimes.libraries import CUDNN, loads
from zen_edge.runtimes.providers import CUDA, why_not

EXTRAS = {
    "export": ("torch", "transformers", "onnx", "onnx-ir", "onnxscript", "safetensors"),
    "bench": ("sacrebleu", "psutil", "matplotlib", "ctranslate2"),
}


@dataclass(frozen=True)
class Finding:
    """status: "ok"; "note", worth knowing; "problem", keeps bundles from running. advice: what to do, "" if nothing."""

    name: str
    status: Literal["ok", "note", "problem"]
    value: str
    advice: str = ""


def examine() -> tuple[Finding, ...]:
    """Every finding. Never raises: what cannot be told is a finding of its own."""
    return tuple(finding for look in LOOKS for finding in look())


def placed(bundle: Path, device: str | None) -> tuple[Finding, ...]:
    """Which provider runs the nodes of each graph of a bundle, once it is loaded on `device`; a problem where it cannot be loaded."""
    from zen_edge.runtimes import load

    try:
        with load(bundle, device=device) as pipeline:
            found = [Finding("device", "ok", f"{pipeline.provider.device}: {pipeline.provider.why}")]
            for graph, counts in pipeline.placement().items():
                told = ", ".join(f"{count} nodes on {name}" for name, count in sorted(counts.items(), key=lambda one: -one[1]))
                elsewhere = sum(counts.values()) - counts.get(pipeline.provider.name, 0)
                found.append(Finding(graph, "note" if elsewhere > sum(counts.values()) / 2 else "ok", told))
            return tuple(found)
    except ZenEdgeError as error:
        return (Finding(bundle.name or str(bundle), "problem", "cannot be loaded", str(error)),)


def _python() -> Iterable[Finding]:
    old = sys.version_info < (3, 11)
    yield Finding(
        "Python", "problem" if old else "ok", f"{platform.python_version()} ({platform.platform()})", "install Python 3.11 or newer" if old else ""
    )
    encoding = (sys.stdout.encoding if sys.stdout is not None else None) or "none"
    plain = encoding.lower().replace("-", "") != "utf8"
    yield Finding(
        "output encoding", "note" if plain else "ok", encoding, "set PYTHONIOENCODING=utf-8, or other scripts cannot be printed" if plain else ""
    )


def _cpu() -> Iterable[Finding]:
    name, flags = cpu_flags()
    if not flags:
        yield Finding("CPU", "note", f"{name}: its features cannot be told on this system")
        return
    known = ", ".join(label for flag, label in CPU_FEATURES.items() if flag in flags) or "none of those ONNX Runtime uses"
    yield Finding("CPU", "ok", f"{name}: {known}")
    if saturates_int8(flags):
        yield Finding(
            "int8", "note", "no VNNI: exact int8 kernels are used, which are slower", "compare fp32 and int8 on your own inputs before you choose"
        )


def _cores() -> Iterable[Finding]:
    total, usable, quota = os.cpu_count() or 1, usable_cores(), cgroup_quota()
    affinity = f", {len(os.sched_getaffinity(0))} by affinity" if hasattr(os, "sched_getaffinity") else ""
    limit = "" if quota is None else f", {quota:g} by cgroup"
    yield Finding("cores", "ok", f"{usable} usable of {total}{affinity}{limit}")
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads:
        yield Finding("OMP_NUM_THREADS", "note", threads, "zen-edge does not read it: use --threads")


def _runtime() -> Iterable[Finding]:
    installed = " and ".join(f"{name} {found}" for name in BUILDS if (found := _version(name))) or "none"
    try:
        module = onnxruntime()
    except MissingDependencyError as error:
        yield Finding("ONNX Runtime", "problem", installed, str(error))
        return
    providers = [str(name) for name in module.get_available_providers()]
    yield Finding("ONNX Runtime", "ok", f"{installed}: {', '.join(providers)}")
    off = os.environ.get("ORT_DISABLE_TELEMETRY") == "1"
    advice = "" if off else "unset ORT_DISABLE_TELEMETRY, or set it to 1"
    yield Finding("usage events of ONNX Runtime", "ok" if off else "note", "off" if off else "on, because ORT_DISABLE_TELEMETRY says so", advice)
    for name in providers[:-1]:  # the last is the CPU's
        yield from _provider(name)


def _provider(name: str) -> Iterable[Finding]:
    """Whether a provider of this build can start. CUDA's is what its build is installed for; others come along with it."""
    reason = why_not(name)
    if reason is None:
        yield Finding(name, "ok", "can start")
        if name == CUDA.name and not loads(CUDNN):
            yield Finding(
                "cuDNN", "note", f"{CUDNN} cannot be loaded, and graphs with convolutions (speech) need it", "pip install onnxruntime-gpu[cudnn]"
            )
        return
    yield Finding(name, "problem" if name == CUDA.name else "note", reason.said, reason.todo)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _extras() -> Iterable[Finding]:
    for extra, packages in EXTRAS.items():
        missing = [name for name in packages if _version(name) is None]
        told = f"without {', '.join(missing)}" if missing else ", ".join(f"{name} {_version(name)}" for name in packages)
        yield Finding(f"extra {extra}", "note" if missing else "ok", told, f'pip install "zen-edge[{extra}]"' if missing else "")


LOOKS: tuple[Callable[[], Iterable[Finding]], ...] = (_python, _cpu, _cores, _runtime, _extras)
