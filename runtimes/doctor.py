"""What this machine has to run bundles with, and what to do about what it lacks."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from zen_edge.errors import MissingDependencyError
from zen_edge.runtimes.cores import cgroup_quota, usable_cores
from zen_edge.runtimes.cpu import CPU_FEATURES, cpu_flags, saturates_int8
from zen_edge.runtimes.session import BUILDS, onnxruntime

EXTRAS = {
    "export": ("torch", "transformers", "onnx", "onnx-ir", "onnxscript", "safetensors"),
    "bench": ("sacrebleu", "psutil", "matplotlib", "ctranslate2"),
}
# What ONNX Runtime's CUDA provider loads, and the package that brings each (CUDA 12 or 13, cuDNN 9).
CUDA_LIBRARIES = {
    "the NVIDIA driver": (("libcuda.so.1", "nvcuda.dll"), "install the NVIDIA driver of the GPU"),
    "cudart": (("libcudart.so.13", "libcudart.so.12", "cudart64_13.dll", "cudart64_12.dll"), "pip install nvidia-cuda-runtime"),
    "cublas": (("libcublas.so.13", "libcublas.so.12", "cublas64_13.dll", "cublas64_12.dll"), "pip install nvidia-cublas"),
    "cublasLt": (("libcublasLt.so.13", "libcublasLt.so.12", "cublasLt64_13.dll", "cublasLt64_12.dll"), "pip install nvidia-cublas"),
    "cufft": (("libcufft.so.12", "libcufft.so.11", "cufft64_12.dll", "cufft64_11.dll"), "pip install nvidia-cufft"),
    "cuDNN": (("libcudnn.so.9", "cudnn64_9.dll"), "pip install nvidia-cudnn-cu13 (or -cu12)"),
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
    if "CUDAExecutionProvider" in providers:
        yield from _cuda()


def _cuda() -> Iterable[Finding]:
    """Which of the CUDA provider's libraries can be loaded. One that is missing makes the provider fail when a session starts."""
    for name, (files, advice) in CUDA_LIBRARIES.items():
        found = next((file for file in files if _loads(file)), None)
        yield Finding(name, "ok" if found else "problem", found or "not found", "" if found else advice)


def _loads(file: str) -> bool:
    try:
        ctypes.CDLL(file)
    except OSError:
        return False
    return True


def _extras() -> Iterable[Finding]:
    for extra, packages in EXTRAS.items():
        missing = [name for name in packages if _version(name) is None]
        told = f"without {', '.join(missing)}" if missing else ", ".join(f"{name} {_version(name)}" for name in packages)
        yield Finding(f"extra {extra}", "note" if missing else "ok", told, f'pip install "zen-edge[{extra}]"' if missing else "")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


LOOKS: tuple[Callable[[], Iterable[Finding]], ...] = (_python, _cpu, _cores, _runtime, _extras)
