"""What runs on the edge: numpy, ONNX Runtime, the tokenizers and a sentence splitter; no torch, no transformers, no onnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zen_edge.errors import OptionError
from zen_edge.manifest import read_manifest


def load(bundle: str | Path, *, device: str | None = None, threads: int | None = None, verify: bool = False) -> Any:
    """Open a bundle as the pipeline of its task. device: "cpu", "cuda", "auto"; None: the one it was exported for. threads: None uses what the process may use.

    verify: compare every file with its sha256 (sizes are always compared). Raises BundleError for a damaged bundle, MissingDependencyError
    without ONNX Runtime.
    """
    from zen_edge.runtimes.pipelines import open_pipeline

    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise OptionError(f"threads must be a whole number from 1, not {threads!r}.")
    folder = Path(bundle)
    manifest = read_manifest(folder, hashes=verify)
    return open_pipeline(folder, manifest, device=device or manifest.device, threads=threads)
