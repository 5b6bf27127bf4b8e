"""A bundle on disk."""

from dataclasses import dataclass
from pathlib import Path

from zen_edge.manifest import Manifest


@dataclass(frozen=True)
class Bundle:
    """What `export` gives back: the folder, and the manifest in it."""

    path: Path
    manifest: Manifest
