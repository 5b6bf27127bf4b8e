"""What one architecture does differently, one file per `model_type`; the folder is the registry.

A file may define any of the names of `Architecture`; what it leaves out follows the common path.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from typing import Any

from zen_edge.errors import ZenEdgeError
from zen_edge.tasks import TASKS


@dataclass(frozen=True)
class Architecture:
    """task: what checkpoints of this architecture are for, where the checkpoint itself does not tell."""

    task: str | None = None


def known() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def architecture(model_type: str) -> Architecture:
    name = model_type.replace("-", "_")
    if name not in known():
        return Architecture()
    module = importlib.import_module(f"{__name__}.{name}")
    return Architecture(task=getattr(module, "TASK", None))


def find_task(config: Any, asked: str | None) -> str:
    """The task that was asked for, or the one the checkpoint tells of. A ZenEdgeError where it does not, because a wrong guess would be silent."""
    if asked is not None:
        if asked not in TASKS:
            raise ZenEdgeError(f"task {asked!r} is not known; there are: {', '.join(TASKS)}.")
        return asked
    told = architecture(config.model_type).task
    if told is not None:
        return told
    named = {name.partition("_")[0] for name in getattr(config, "task_specific_params", None) or {}} & TASKS.keys()
    if len(named) == 1:
        return named.pop()
    raise ZenEdgeError(f"the checkpoint does not say what it is for; give --task: {', '.join(TASKS)}.")
