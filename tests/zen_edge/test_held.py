"""What killed processes left is removed by the next one for the same folder; what is in use, or of somebody else, is not."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zen_edge.errors import ZenEdgeError
from zen_edge.files import new_folder
from zen_edge.held import hold, let_go, make_held, sweep, work_name

WAITING = """
import sys
from pathlib import Path
from zen_edge.files import new_folder
with new_folder(Path(sys.argv[1]), force=False) as part:
    (part / "weights.bin").write_bytes(b"half")
    print(part.name, flush=True)
    sys.stdin.read()
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def left(out: Path, name: str) -> Path:
    folder = out.with_name(name)
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"half")
    return folder


def test_a_process_that_is_killed_and_one_that_is_not(tmp_path):
    """Two processes make the same bundle, and a third comes when one of them was killed."""
    started = [
        subprocess.Popen([sys.executable, "-c", WAITING, str(tmp_path / "out")], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)
    ]
    try:
        parts = [process.stdout.readline().decode().strip() for process in started]
        assert names(tmp_path) == sorted(parts)
        started[0].send_signal(signal.SIGKILL)
        started[0].wait()
        assert names(tmp_path) == sorted(parts)  # nobody could clean up
        sweep(tmp_path / "out")
        assert names(tmp_path) == [parts[1]]
        started[1].communicate()
        assert started[1].returncode == 0
        assert names(tmp_path) == ["out"]
    finally:
        for process in started:
            process.kill()
            process.communicate()


def test_what_is_left_goes_before_out_is_made(tmp_path):
    out = tmp_path / "out"
    left(out, work_name("out", "0123abcd"))
    left(out, work_name("out", "search"))
    with new_folder(out, force=False) as part:
        assert names(tmp_path) == [part.name]
    assert names(tmp_path) == ["out"]


def test_names_of_others_stay(tmp_path):
    out = tmp_path / "out"
    others = [
        ".out",
        ".out.0123abcd",
        ".out.zen-edge-",
        ".outer.zen-edge-0123abcd",
        ".o.t.zen-edge-0123abcd",
        "out.zen-edge-0123abcd",
        ".out.zen-edge-0123abcd.txt",
    ]
    for name in others:
        left(out, name)
    (tmp_path / work_name("out", "file")).write_text("a file")
    (tmp_path / work_name("out", "link")).symlink_to(tmp_path / ".out")
    sweep(out)
    assert names(tmp_path) == sorted([*others, work_name("out", "file"), work_name("out", "link")])
    assert names(tmp_path / ".out") == ["weights.bin"]


def test_what_is_held_stays_until_it_is_let_go(tmp_path):
    part, held = make_held(tmp_path / "out")
    with pytest.raises(BlockingIOError):
        hold(part)
    sweep(tmp_path / "out")
    assert names(tmp_path) == [part.name]
    let_go(held)
    sweep(tmp_path / "out")
    assert names(tmp_path) == []


def test_a_bundle_that_was_moved_out_of_the_way_is_put_back(tmp_path, bundle):
    """Killed between the two renames of --force, and after them."""
    part = left(bundle, work_name(bundle.name, "0123abcd"))
    bundle.rename(part.with_name(part.name + ".old"))
    with pytest.raises(ZenEdgeError, match="exists already"), new_folder(bundle, force=False):
        pytest.fail("the block ran")
    assert names(tmp_path) == [bundle.name]
    assert (bundle / "zen-edge.json").is_file()
    left(bundle, part.name + ".old")
    sweep(bundle)
    assert names(tmp_path) == [bundle.name]


def test_what_two_long_names_have_in_common_is_nobodys(tmp_path):
    out, other = (tmp_path / ("n" * 60 + end) for end in "ab")
    old = left(other, work_name(other.name, "0123abcd") + ".old")
    sweep(out)
    assert names(tmp_path) == [old.name]


def test_a_place_that_is_not_there(tmp_path):
    sweep(tmp_path / "no" / "out")
    assert names(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        hold(tmp_path / "no")
