"""What is made once and kept between runs: converted checkpoints, and environments of engines that need their own."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

from zen_edge.errors import ZenEdgeError


def cache_folder() -> Path:
    """ZEN_EDGE_CACHE, else zen-edge's part of the user's cache folder."""
    own = os.environ.get("ZEN_EDGE_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zen-edge"


def made_once(path: Path, make: Callable[[Path], None]) -> Path:
    """`path`, after `make` wrote it if it was not there. It appears whole or not at all, and whoever is first wins."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as part:
            made = Path(part) / "made"
            make(made)
            try:
                made.rename(path)
            except OSError:
                if not path.exists():
                    raise
    return path


def fingerprint(*parts: str | Path) -> str:
    """Names a cache entry after texts, and folders' regular files by name and content."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(f"{part}\0".encode())
            continue
        for file in sorted(file for file in part.iterdir() if file.is_file()):
            with file.open("rb") as content:
                digest.update(f"{file.name}\0{hashlib.file_digest(content, 'sha256').hexdigest()}\0".encode())
    return digest.hexdigest()[:16]


def environment(name: str, requirements: Sequence[str], tell: Callable[[str], None]) -> Path:
    """The python of a virtual environment with these pip requirements, made on first use. ZenEdgeError if pip cannot make it."""

    def make(folder: Path) -> None:
        tell(f"{name}: make its environment (once)")
        try:
            venv.create(folder, with_pip=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise ZenEdgeError(
                f"{name}: no virtual environment can be made for it ({error}); python needs its venv and ensurepip modules."
            ) from error
        done = subprocess.run([_python(folder), "-m", "pip", "install", "--quiet", *requirements], capture_output=True, text=True)
        if done.returncode:
            last = next((line for line in reversed(done.stderr.splitlines()) if "ERROR" in line), "no message")
            raise ZenEdgeError(f"{name}: pip could not install {' '.join(requirements)}: {last}")

    here = f"{name}-py{sys.version_info[0]}{sys.version_info[1]}-{fingerprint(*requirements)}"
    return _python(made_once(cache_folder() / "environments" / here, make))


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
