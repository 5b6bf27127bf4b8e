"""How many cores this process may use: its affinity, and its cgroup's share of time."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """At least 1."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = cgroup_quota()
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def cgroup_quota() -> float | None:
    """The cores' worth of time that the narrowest cgroup around this process allows; None without a limit."""
    quotas = [quota for folder in _own_cgroups() if (quota := _quota_of(folder)) is not None]
    return min(quotas, default=None)


def _own_cgroups() -> list[Path]:
    """This process's cgroup and those around it (version 2), or the cpu controller's (version 1)."""
    folders = [CGROUP, CGROUP / "cpu", CGROUP / "cpu,cpuacct"]
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return folders
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        root = CGROUP if not controllers else CGROUP / controllers
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
