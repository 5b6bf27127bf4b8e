"""What a measurement ran on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

from zen_edge.runtimes.cores import usable_cores
from zen_edge.runtimes.cpu import CPU_FEATURES, cpu_flags
from zen_edge.runtimes.nvidia import gpu_names


def machine() -> dict[str, Any]:
    name, flags = cpu_flags()
    return {
        "cpu": name,
        "cpu_features": [label for flag, label in CPU_FEATURES.items() if flag in flags],
        "architecture": platform.machine(),
        "cores_usable": usable_cores(),
        "cores": os.cpu_count(),
        "memory_gb": _memory_gb(),
        "system": platform.platform(),
        "load_average_at_start": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def gpu_name() -> str | None:
    """Of the first GPU, which is the one that is measured; None where there is none."""
    return next(iter(gpu_names()), None)


def versions() -> dict[str, str]:
    """Of what measures; engines tell their own."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in ("zen-edge", "numpy")}}


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError, AttributeError):
        return None
