"""Pipelines: one file per task of zen_edge/tasks.py, which gives a `Pipeline` class."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from zen_edge.errors import BundleError
from zen_edge.manifest import Manifest
from zen_edge.runtimes.providers import Device
from zen_edge.tasks import TASKS


def known_tasks() -> list[str]:
    folder = Path(__file__).parent
    return sorted(task for task in TASKS if (folder / f"{task.replace('-', '_')}.py").exists())


def open_pipeline(folder: Path, manifest: Manifest, *, device: Device, threads: int | None) -> Any:
    """The pipeline of the bundle's task. BundleError for a task this version does not run."""
    if manifest.task not in known_tasks():
        raise BundleError(f"the bundle is for {manifest.task!r}, and this version runs {', '.join(known_tasks())}: pip install --upgrade zen-edge.")
    module = importlib.import_module(f"{__name__}.{manifest.task.replace('-', '_')}")
    return module.Pipeline(folder, manifest, device=device, threads=threads)
