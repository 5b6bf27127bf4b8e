"""Speech recognition: audio to text, by whatever the bundle holds."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from zen_edge.errors import BundleError
from zen_edge.manifest import Manifest, hears_utterances
from zen_edge.runtimes.providers import Device

KINDS = {"decoder": "transcription", "ctc": "ctc"}  # a graph, and the file here whose Pipeline runs it


def Pipeline(folder: Path, manifest: Manifest, *, device: Device = "cpu", threads: int | None = None) -> Any:
    """The pipeline of an encoder-decoder, or of a model with one output for every frame."""
    held = {graph.name for graph in manifest.graphs}
    kind = next((kind for graph, kind in KINDS.items() if graph in held), None)
    if kind == "transcription" and hears_utterances(manifest):
        kind = "utterances"
    if kind is None:
        raise BundleError(f"a speech-recognition bundle holds one of the graphs {', '.join(KINDS)}, and this one has {', '.join(sorted(held))}.")
    return importlib.import_module(f"zen_edge.runtimes.pipelines.{kind}").Pipeline(folder, manifest, device=device, threads=threads)
