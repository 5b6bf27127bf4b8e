"""A new folder comes whole or not at all, and nobody's other folder is ever removed."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from zen_edge import files
from zen_edge.errors import BundleError, ZenEdgeError
from zen_edge.files import MANIFEST, new_folder, read_small, sha256, write_whole
from zen_edge.manifest import read_manifest


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


def refusal(out: Path, *, force: bool = False) -> str:
    """The message with which `out` is refused, before the block runs and without a trace left."""
    with pytest.raises(ZenEdgeError) as caught, new_folder(out, force=force):
        pytest.fail("the block ran")
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_folder_appears_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with new_folder(out, force=False) as part:
        assert part.parent == tmp_path and part.name.startswith(".out") and not out.exists()
        (part / "inner").mkdir()
        (part / "inner" / "a").write_text("a")
    assert snapshot(tmp_path) == {"out": b"", "out/inner": b"", "out/inner/a": b"a"}
    plain = tmp_path / "plain"
    plain.mkdir()
    assert stat.S_IMODE(out.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)  # not a temporary folder's 0700


def test_relative_out_and_a_very_long_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("out", "n" * 255):
        with new_folder(Path(name), force=False) as part:
            (part / "a").touch()
        assert (tmp_path / name / "a").exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, OSError])
@pytest.mark.parametrize("force", [False, True])
def test_nothing_stays_when_the_block_fails(tmp_path: Path, bundle: Path, error: type[BaseException], force: bool) -> None:
    out = bundle if force else tmp_path / "new" / "deep" / "out"
    before = snapshot(tmp_path)
    with pytest.raises(error), new_folder(out, force=force) as part:
        (part / "inner").mkdir()
        (part / "inner" / "a").write_text("a")
        raise error("stop")
    assert snapshot(tmp_path) == before


def test_missing_parents_are_made(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "b" / "out", force=False):
        pass
    assert (tmp_path / "a" / "b" / "out").is_dir()


def test_parents_that_others_use_by_now_stay(tmp_path: Path) -> None:
    with pytest.raises(ValueError), new_folder(tmp_path / "a" / "b" / "out", force=False):
        (tmp_path / "a" / "mine").touch()
        raise ValueError
    assert snapshot(tmp_path) == {"a": b"", "a/mine": b""}


def test_existing_out_asks_for_force(tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for out in (bundle, tmp_path / "file", tmp_path / "dangling", tmp_path, Path(), Path("..")):
        assert "--force" in refusal(out)


def test_force_replaces_a_bundle_or_an_empty_folder(tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "empty").mkdir()
    for out in (bundle, tmp_path / "empty", tmp_path / "not there"):
        with new_folder(out, force=True) as part:
            assert out != bundle or read_manifest(bundle)  # the old one serves until the end
            (part / "new").write_text("new")
        assert snapshot(out) == {"new": b"new"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "empty", "not there"]


def test_force_replaces_a_damaged_bundle(bundle: Path) -> None:
    (bundle / "encoder.onnx").unlink()
    (bundle / "tokenizer" / "vocab.json").write_bytes(b"cut")
    with new_folder(bundle, force=True) as part:
        (part / "new").touch()
    assert snapshot(bundle) == {"new": b""}


SPOILERS: dict[str, Callable[[Path], object]] = {
    "a file of the user's": lambda folder: (folder / "thesis.tex").write_text("years"),
    "a file in an inner folder": lambda folder: (folder / "tokenizer" / "notes").write_text("mine"),
    "no manifest": lambda folder: (folder / MANIFEST).unlink(),
    "a broken manifest": lambda folder: (folder / MANIFEST).write_text("{"),
    "a manifest of something else": lambda folder: (folder / MANIFEST).write_text('{"name": "other"}'),
    "a list": lambda folder: (folder / MANIFEST).write_text("[]"),
    "a format in words": lambda folder: (folder / MANIFEST).write_text('{"format": "x", "files": {"encoder.onnx": 1, "tokenizer/vocab.json": 1}}'),
    "a link": lambda folder: (folder / "link").symlink_to(folder.parent),
    "a fifo": lambda folder: os.mkfifo(folder / "pipe"),
}


@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS)
def test_force_leaves_what_is_more_than_a_bundle(tmp_path: Path, bundle: Path, spoil: Callable[[Path], object]) -> None:
    spoil(bundle)
    before = sorted(tmp_path.rglob("*"))
    assert "--force" in refusal(bundle, force=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_force_leaves_files_links_and_folders_of_folders(tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(bundle)
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    for name in ("file", "link", "outer"):
        assert "--force" in refusal(tmp_path / name, force=True)
    assert (tmp_path / "outer" / "inner").is_dir() and read_manifest(tmp_path / "link")


def test_a_file_put_into_out_meanwhile_is_kept(bundle: Path) -> None:
    with pytest.raises(ZenEdgeError, match="more"), new_folder(bundle, force=True):
        (bundle / "late").touch()
    assert (bundle / "late").exists() and sorted(path.name for path in bundle.parent.iterdir()) == ["bundle"]


def test_out_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ZenEdgeError, match="exists"), new_folder(tmp_path / "out", force=False):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "other").touch()
    assert snapshot(tmp_path) == {"out": b"", "out/other": b""}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["OSError", "KeyboardInterrupt"])
@pytest.mark.parametrize("failing", [1, 2])
def test_old_one_is_put_back_when_a_rename_fails(bundle: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, failing: int) -> None:
    before, rename, calls = snapshot(bundle.parent), Path.rename, 0

    def fail(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise error
        return rename(self, target)

    with pytest.raises((ZenEdgeError, KeyboardInterrupt)), new_folder(bundle, force=True) as part:
        (part / "new").touch()
        monkeypatch.setattr(Path, "rename", fail)
    assert snapshot(bundle.parent) == before


def test_interrupt_while_the_old_one_is_removed_leaves_the_new_one(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remove, calls = files.shutil.rmtree, []

    def interrupted(path: Path, ignore_errors: bool = False) -> None:
        calls.append(path)
        if len(calls) == 1:
            raise KeyboardInterrupt
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(files.shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt), new_folder(bundle, force=True) as part:
        (part / "new").write_text("new")
    assert snapshot(bundle.parent) == {"bundle": b"", "bundle/new": b"new"}


def test_places_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    assert "Not a directory" in refusal(tmp_path / "file" / "out") or "exists" in refusal(tmp_path / "file" / "out")
    refusal(tmp_path / ("n" * 300))
    refusal(tmp_path / "file" / "a" / "b\nc")

    def denied(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", denied)
    assert "Permission denied" in refusal(tmp_path / "out")
    assert "Permission denied" in refusal(tmp_path / "new" / "out")


def test_write_whole_keeps_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new \ud800")
    monkeypatch.setattr(files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        write_whole(path, "new")
    assert snapshot(tmp_path) == {"a.json": b"old"}


def test_reading_refuses_links_fifos_and_size(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert read_small(tmp_path / "a", 3) == b"abc"
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(BundleError, match="larger"):
        read_small(tmp_path / "a", 2)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError):
        read_small(tmp_path / "link", 3)
    with pytest.raises(BundleError, match="not a regular file"):
        sha256(tmp_path / "fifo")
