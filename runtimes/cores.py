"""How many cores this process may use: its affinity, and its cgroup's share of time."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def processors() -> list[int]:
    """Those that this thread may run on, as the system numbers them; none where it does not say (macOS, Windows)."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def usable_cores() -> int:
    """At least 1."""
    cores = len(processors()) or os.cpu_count() or 1
    quota = cgroup_quota()
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def cgroup_quota() -> float | None:
    """The cores' worth of time that the narrowest cgroup around this process allows; None without a limit."""
    quotas = [quota for folder in own_cgroups("cpu", "cpu,cpuacct") if (quota := _quota_of(folder)) is not None]
    return min(quotas, default=None)


def own_cgroups(*controllers: str) -> list[Path]:
    """This process's cgroup and those around it (version 2), or those of its controllers, of which `controllers` are looked at without it too (version 1)."""
    folders = [CGROUP, *(CGROUP / name for name in controllers)]
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return folders
    for line in lines:
        _, named, path = [*line.split(":", 2), "", ""][:3]
        root = CGROUP / named
        inner = root / path.strip("/")
        folders += [inner, *(parent for parent in inner.parents if parent.is_relative_to(root))]
    return folders


def _quota_of(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / name).read_text().strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError):
        return None
