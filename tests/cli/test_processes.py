"""Exit statuses, streams, signals and start-up of a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

COMMANDS = ("attend", "bench", "demo", "doctor", "export", "inspect", "parity", "quantize", "run")
HEAVY = ("torch", "transformers", "onnxruntime", "onnx", "onnx_ir", "tokenizers", "sentencepiece", "sacrebleu", "matplotlib")
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and pipes as POSIX has them")


@pytest.fixture(autouse=True)
def _interruptible():
    """A shell lets what it runs in the background ignore SIGINT, and children would inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def start(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "zen_edge", *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload]


@pytest.mark.alone
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_instant_and_imports_no_room(command):
    code = f"""
import sys
from typer.testing import CliRunner
from zen_edge.cli import app
shown = CliRunner().invoke(app, {[command, "--help"] if command else ["--help"]})
rooms = [name for name in sys.modules if name.startswith(("zen_edge.exporters", "zen_edge.runtimes", "zen_edge.benchmarks"))]
heavy = [name for name in {HEAVY} if name in sys.modules]
assert shown.exit_code == 0 and "Usage" in shown.stdout, shown.output
assert not rooms and not heavy, rooms + heavy
"""
    taken = []
    for _ in range(3):
        begin = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        taken.append(time.perf_counter() - begin)
        assert done.returncode == 0, done.stderr
        if taken[-1] < 1:
            break
    assert min(taken) < 1


def test_every_command_is_tried():
    from zen_edge.cli import app

    assert {command.callback.__name__ for command in app.registered_commands} == set(COMMANDS)


def test_statuses_and_debug(process, tmp_path: Path):
    assert process("--version").stdout.startswith(b"zen-edge ")
    assert process("nonsense").returncode == 2
    assert process("run").returncode == 2
    done = process("run", tmp_path, "x")
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (3, b"", 1)
    assert b"Traceback" not in done.stderr
    told = process("run", tmp_path, "x", ZEN_EDGE_DEBUG="1")
    assert told.returncode == 3
    assert b"Traceback (most recent call last)" in told.stderr
    assert told.stderr.splitlines()[-1] == done.stderr.strip()
    assert b"Traceback" not in process("run", tmp_path, "x", ZEN_EDGE_DEBUG="0").stderr


def test_a_slip_of_ours_is_one_line_too(zen, monkeypatch, demo_fp32):
    def slip(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("zen_edge.load", slip)
    done = zen("run", demo_fp32, "x")
    assert done.exit_code == 1
    assert done.stderr == "zen-edge: unexpected ZeroDivisionError: division by zero; run it again with ZEN_EDGE_DEBUG=1 and report what it prints.\n"
    assert "Traceback" in zen("run", demo_fp32, "x", ZEN_EDGE_DEBUG="1").stderr


def test_output_is_utf_8_whatever_the_locale(process, demo_fp32):
    done = process("run", demo_fp32, "library for sound", PYTHONIOENCODING="ascii")
    assert done.stdout.decode("utf-8") == "bibliothèque pour son\n"
    assert done.returncode == 0


@POSIX
def test_a_reader_that_has_seen_enough(demo_fp32):
    child = start("run", demo_fp32, "--num-beams", 1, "--max-new-tokens", 2)
    assert child.stdin and child.stdout and child.stderr

    def write() -> None:
        try:
            child.stdin.write(b"simple game\n" * 4000)
            child.stdin.close()
        except OSError:
            pass

    writer = threading.Thread(target=write)
    writer.start()
    assert child.stdout.readline() == b"jeu\n"
    child.stdout.close()
    assert child.wait(60) == 1
    writer.join()
    assert child.stderr.read() == b""


@POSIX
def test_nothing_to_run_on_a_terminal(demo_fp32):
    import pty

    ours, theirs = pty.openpty()
    done = subprocess.run([sys.executable, "-m", "zen_edge", "run", str(demo_fp32)], stdin=theirs, capture_output=True, timeout=60, check=False)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 2
    assert b"give texts as arguments" in done.stderr


@POSIX
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_is_interrupted(number, status, demo_fp32):
    child = start("run", demo_fp32)
    time.sleep(1.5)  # it waits for a line
    child.send_signal(number)
    _, told = child.communicate(timeout=30)
    assert child.returncode == status
    assert b"Traceback" not in told
    assert len(told.splitlines()) <= 1


@POSIX
def test_an_interrupted_export_leaves_nothing(demo_checkpoint, tmp_path: Path):
    child = start("export", demo_checkpoint, tmp_path / "new" / "out")
    assert child.stderr
    assert b"load the checkpoint" in child.stderr.readline()  # it has ended: now it traces
    time.sleep(0.5)
    assert list(tmp_path.rglob("*"))
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=60)
    assert child.returncode == 130
    assert b"Traceback" not in told
    assert not list(tmp_path.rglob("*"))


NOTES = """
import os, sys
from zen_edge.cli.console import own_stderr
print("before", file=sys.stderr)
try:
    with own_stderr():
        os.write(2, b"a note of a library")
        print("inside", file=sys.stderr)
        raise ValueError
except ValueError:
    os.write(2, b"after\\n")
"""


def test_what_libraries_print_on_stderr_is_not_seen():
    done = subprocess.run([sys.executable, "-c", NOTES], capture_output=True, timeout=60, check=True)
    assert done.stderr.split() == [b"before", b"inside", b"after"]
