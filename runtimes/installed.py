"""ONNX Runtime, imported here and nowhere else, and which of its builds is installed."""

from __future__ import annotations

import importlib.metadata
import os
from types import ModuleType

from zen_edge.errors import MissingDependencyError

# Packages that install the same module: one of them, never two.
BUILDS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-qnn")


def onnxruntime() -> ModuleType:
    """The module, with its usage events off. MissingDependencyError if no build of it is installed, or more than one."""
    found = builds()
    if len(found) > 1:
        raise MissingDependencyError(
            f"{' and '.join(found)} are both installed and overwrite each other: pip uninstall -y {' '.join(found)}, then "
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


def builds() -> list[str]:
    """The packages of ONNX Runtime that are installed."""
    return [name for name in BUILDS if _installed(name)]


def build() -> str:
    """The installed package and its version: "onnxruntime-gpu 1.31.1"."""
    return " and ".join(f"{name} {importlib.metadata.version(name)}" for name in builds()) or f"onnxruntime {onnxruntime().__version__}"


def _installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
