"""Pipelines: one file per task, which gives a `Pipeline` class; the folder is the registry."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from zen_edge.errors import BundleError
from zen_edge.manifest import Manifest

if TYPE_CHECKING:
    from zen_edge.runtimes.pipelines.text_to_text import TextToText


def known_tasks() -> list[str]:
    folder = Path(__file__).parent
    return sorted(path.stem.replace("_", "-") for path in folder.glob("*.py") if path.stem not in ("__init__", "text_to_text"))


def open_pipeline(folder: Path, manifest: Manifest, *, device: str, threads: int | None) -> TextToText:
    """The pipeline of the bundle's task. BundleError for a task this version does not run."""
    if manifest.task not in known_tasks():
        raise BundleError(f"the bundle is for {manifest.task!r}, and this version runs {', '.join(known_tasks())}: pip install --upgrade zen-edge.")
    module = importlib.import_module(f"{__name__}.{manifest.task.replace('-', '_')}")
    pipeline: TextToText = module.Pipeline(folder, manifest, device=device, threads=threads)
    return pipeline
