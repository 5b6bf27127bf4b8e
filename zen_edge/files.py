"""Folders and files of a bundle: listed without following links, hashed in pieces, replaced whole or not at all."""

import hashlib
import json
import mmap
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zen_edge.checked import printable, quoted
from zen_edge.errors import BundleError, ZenEdgeError
from zen_edge.held import OLD, hold, let_go, make_held, sweep

MANIFEST = "zen-edge.json"
LARGEST_MANIFEST = 4 * 1024 * 1024
MOST_FILES = 10_000
DEEPEST = 8
SPARE = 2**24  # bytes, never touched: let go where memory has run out, so that there is some to clean up with


def unsafe_name(name: str) -> str | None:
    """Why a file name in a manifest could leave the bundle's folder or read differently on another system; None if it cannot."""
    if not name or len(name.encode("utf-8", "replace")) > 1024:
        return "is empty or too long"
    if not name.isprintable():
        return "holds characters that cannot be printed"
    if name.startswith("/") or ":" in name or "\\" in name:
        return "is not a path relative to the bundle, parted by '/'"
    parts = name.split("/")
    if ".." in parts or "." in parts or "" in parts:
        return "holds an empty part, '.' or '..'"
    if len(parts) > DEEPEST or any(len(part.encode()) > 255 or part.endswith((".", " ")) for part in parts):
        return "is too deep, or has a part too long or ending in '.' or a space"
    return None


def reason(error: OSError) -> str:
    return printable(error.strerror or type(error).__name__)


def regular_files(folder: Path) -> dict[str, int]:
    """{name relative to `folder`, parted by '/': size in bytes}, sorted. BundleError for a link, or anything that is neither file nor folder."""
    sizes: dict[str, int] = {}
    here = f"bundle {quoted(str(folder))}"

    def visit(path: Path, prefix: str, depth: int) -> None:
        if depth > DEEPEST:
            raise BundleError(f"{here}: {quoted(prefix)} is nested too deeply for a bundle; remove it")
        with os.scandir(path) as entries:
            for entry in entries:
                name, mode = prefix + entry.name, entry.stat(follow_symlinks=False)
                if stat.S_ISLNK(mode.st_mode):
                    raise BundleError(f"{here}: {quoted(name)} is a link; put the file it points to in its place, or export the bundle again")
                if stat.S_ISDIR(mode.st_mode):
                    visit(Path(entry.path), name + "/", depth + 1)
                elif stat.S_ISREG(mode.st_mode):
                    sizes[name] = mode.st_size
                else:
                    raise BundleError(f"{here}: {quoted(name)} is not a regular file; remove it")
                if len(sizes) > MOST_FILES:
                    raise BundleError(f"{here}: more than {MOST_FILES} files; this is not a bundle")

    try:
        visit(folder, "", 1)
    except OSError as error:
        raise BundleError(f"{here} cannot be read: {reason(error)}; give the folder that `zen-edge export` wrote") from None
    return dict(sorted(sizes.items()))


def _open_regular(path: Path) -> int:
    """A descriptor that is no link and cannot block. OSError, or BundleError for a fifo, device or folder."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BundleError(f"{quoted(str(path))} is not a regular file; export the bundle again")
    return descriptor


def read_small(path: Path, limit: int) -> bytes:
    """A regular file of at most `limit` bytes."""
    with os.fdopen(_open_regular(path), "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise BundleError(f"{quoted(str(path))} is larger than {limit} bytes; export the bundle again")
    return data


def sha256(path: Path) -> str:
    with os.fdopen(_open_regular(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(path: Path, data: str | bytes, within: Path | None = None) -> None:
    """Writes the file whole or not at all. within: a folder on the same disk for what is not whole yet, in place of the file's own. OSError as the system gives it."""
    partial = (within or path.parent) / f".{path.name[:50]}.{secrets.token_hex(4)}"
    try:
        with partial.open("xb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


@contextmanager
def new_folder(out: Path, *, force: bool) -> Iterator[Path]:
    """Yields a folder beside `out` to write in; it becomes `out` when the block ends, and is removed if the block raises.

    With `force` an `out` that is a bundle or an empty folder is replaced, once the new one is complete. ZenEdgeError if `out` is in the way. What killed
    processes left of the same `out` is removed first.
    """
    out = out.resolve() if out.name in ("", "..") else out.parent.resolve() / out.name  # a link in the place of `out` is refused, not followed
    sweep(out)
    _refuse_unless_free(out, force)
    created: list[Path] = []
    part, held = None, None
    spare = mmap.mmap(-1, SPARE, access=mmap.ACCESS_COPY)
    try:
        try:
            _make_parents(out.parent, created)
            part, held = make_held(out)
        except OSError as error:
            raise ZenEdgeError(f"cannot write beside {quoted(str(out))}: {reason(error)}; choose another OUT") from None
        yield part
        _refuse_unless_free(out, force)  # a long export later, OUT may be another
        try:
            _swap(part, out)
        except OSError as error:
            raise ZenEdgeError(f"cannot put the new folder in the place of {quoted(str(out))}: {reason(error)}; choose another OUT") from None
    except BaseException:
        spare.close()
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
        for parent in reversed(created):
            with suppress(OSError):  # someone else uses it by now
                parent.rmdir()
        raise
    finally:
        let_go(held)


def _make_parents(folder: Path, created: list[Path]) -> None:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir()
        created.append(path)


def _refuse_unless_free(out: Path, force: bool) -> None:
    taken = False
    try:
        with suppress(FileNotFoundError, NotADirectoryError):  # the latter is told when the folder is made
            out.lstat()
            taken = True
        if not taken:
            return
        if not force:
            raise ZenEdgeError(f"{quoted(str(out))} exists already: choose another OUT, or replace it with --force")
        if out.is_symlink() or not out.is_dir():
            raise ZenEdgeError(f"{quoted(str(out))} is not a folder, so --force leaves it alone: choose another OUT")
        foreign = _foreign_file(out)
    except OSError as error:
        raise ZenEdgeError(f"cannot look at {quoted(str(out))}: {reason(error)}; choose another OUT") from None
    if foreign:
        raise ZenEdgeError(f"--force replaces bundles only, and {quoted(str(out))} is more ({foreign}): choose another OUT, or remove it yourself")


def _foreign_file(out: Path) -> str | None:
    """What in the folder no bundle put there, in a few words. A damaged bundle has nothing foreign: it may be replaced."""
    try:
        found = regular_files(out)
        if MANIFEST not in found:
            return f"it holds {quoted(next(iter(found)))} and no {MANIFEST}" if found else _inner_folder(out)
        manifest = json.loads(read_small(out / MANIFEST, LARGEST_MANIFEST))
        listed = {MANIFEST, *manifest["files"]} if isinstance(manifest["format"], int) else {MANIFEST}
    except BundleError as error:
        return str(error)
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"its {MANIFEST} is unreadable"
    return next((f"it holds {quoted(name)}" for name in found if name not in listed), None)


def _inner_folder(out: Path) -> str | None:
    return next((f"it holds {quoted(entry.name)}" for entry in out.iterdir()), None)


def _swap(part: Path, out: Path) -> None:
    """Renames `part` to `out`; what stood there is removed once the new one is in place, and put back if that fails."""
    if not out.exists():
        part.rename(out)
        return
    old = part.with_name(part.name + OLD)
    held = hold(out)
    try:
        try:
            out.rename(old)
            part.rename(out)
        except BaseException:
            if old.exists() and not out.exists():
                old.rename(out)
            raise
        try:
            shutil.rmtree(old, ignore_errors=True)
        except BaseException:  # interrupted: nothing of the old one stays either way
            shutil.rmtree(old, ignore_errors=True)
            raise
    finally:
        let_go(held)
