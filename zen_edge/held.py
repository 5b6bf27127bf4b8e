"""Folders that a process works in. A lock goes with the process, however that ends: so what a killed one left is told from what is in use."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # on Windows nothing tells who uses a folder, and nothing is removed
    fcntl = None  # type: ignore[assignment]

OLD = ".old"
KEPT = 50  # characters of a name, so that what is added to it leaves it a name


def work_name(out: str, word: str) -> str:
    """Of a folder beside `out` in which it is made."""
    return f".{out[:KEPT]}.zen-edge-{word}"


def make_held(out: Path) -> tuple[Path, int | None]:
    """A new folder beside `out` to make it in, and what holds it. OSError as the system gives it."""
    while True:
        part = out.with_name(work_name(out.name, secrets.token_hex(4)))
        part.mkdir()
        try:
            return part, hold(part)
        except (FileNotFoundError, BlockingIOError):  # another process took it for one that was left, new as it was
            continue


def hold(folder: Path) -> int | None:
    """A descriptor that keeps other processes from holding `folder` until it is closed; None where it cannot be locked. BlockingIOError where one has it
    already, FileNotFoundError where it is gone."""
    if fcntl is None:
        return None
    descriptor = None
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(descriptor), folder.stat()):
            raise BlockingIOError
    except OSError as error:
        let_go(descriptor)
        if isinstance(error, (BlockingIOError, FileNotFoundError)):
            raise
        return None  # a file system without locks, or a folder that may not be read
    return descriptor


def let_go(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def sweep(out: Path) -> None:
    """Remove the folders beside `out` that killed processes left. A bundle that one of them had moved out of the way, and no other in its place, is put back."""
    ours = re.compile(re.escape(work_name(out.name, "")) + rf"\w+(?:{OLD})?")
    try:
        left = [Path(entry.path) for entry in os.scandir(out.parent) if ours.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)]
    except OSError:  # told when something is made there
        return
    for folder in sorted(left):
        with suppress(OSError):
            if (descriptor := hold(folder)) is not None:
                _clear(folder, out)
                os.close(descriptor)


def _clear(folder: Path, out: Path) -> None:
    if folder.suffix != OLD:
        shutil.rmtree(folder, ignore_errors=True)
    elif len(out.name) <= KEPT:  # of longer names it may be another's
        if os.path.lexists(out):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            folder.rename(out)
