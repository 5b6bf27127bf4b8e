"""How a pipeline behaves in somebody else's process."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import zen_edge
from zen_edge.runtimes import cores

HERE = Path(__file__).parent
LINUX = sys.platform == "linux"


def child(code: str, *arguments: object, prefix: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    command = [sys.executable, "-c", prefix + textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


@pytest.mark.skipif(not LINUX, reason="seccomp is Linux's own")
def test_the_sandbox_kills() -> None:
    """Without this, the next test could not fail."""
    assert child("import socket\nsocket.socket(socket.AF_INET)", prefix="import sandbox\n").returncode < 0
    assert child("import socket\nsocket.socketpair()", prefix="import sandbox\n").returncode == 0


@pytest.mark.skipif(not LINUX, reason="seccomp is Linux's own")
def test_export_load_and_run_open_no_internet_socket(demo_checkpoint: Path, tmp_path: Path) -> None:
    code = """
        import sys, zen_edge
        zen_edge.export(sys.argv[1], sys.argv[2], precision="int8")
        print(zen_edge.load(sys.argv[2])("simple tool"))
    """
    done = child(code, demo_checkpoint, tmp_path / "out", prefix="import sandbox\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "outil simple"


def test_an_idle_pipeline_uses_no_cpu(demo_int8: Path) -> None:
    with zen_edge.load(demo_int8, threads=2) as pipeline:
        pipeline("simple tool")
        time.sleep(0.2)
        before = time.process_time()
        time.sleep(1)
        assert time.process_time() - before < 0.02


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is Linux's own")
def test_threads_follow_affinity(demo_int8: Path) -> None:
    code = """
        import json, os, sys
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        import zen_edge
        before = len(os.listdir("/proc/self/task"))
        pipeline = zen_edge.load(sys.argv[1], threads=None if sys.argv[2] == "none" else int(sys.argv[2]))
        text = pipeline("simple tool")
        print(json.dumps([text, len(os.listdir("/proc/self/task")) - before]))
    """
    text, one = json.loads(child(code, demo_int8, "none").stdout)
    _, four = json.loads(child(code, demo_int8, 4).stdout)
    assert text == "outil simple"
    assert four - one == 3 * 3  # three graphs, each with a pool of three beside the caller


def cgroup(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_threads_follow_cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert cores.cgroup_quota() is None
    assert cores.usable_cores() == 16
    cgroup(tmp_path, cpu__max="max 100000\n")
    assert cores.usable_cores() == 16
    cgroup(tmp_path, cpu__max="250000 100000\n")
    assert cores.cgroup_quota() == 2.5
    assert cores.usable_cores() == 3
    cgroup(tmp_path, cpu__max="50000 100000\n")
    assert cores.usable_cores() == 1
    (tmp_path / "cpu.max").write_text("nonsense")
    assert cores.usable_cores() == 16


def test_threads_follow_cgroups_of_version_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    cgroup(tmp_path / "cpu", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    assert cores.usable_cores() == 16
    cgroup(tmp_path / "cpu", cpu__cfs_quota_us="400000\n")
    assert cores.usable_cores() == 4


@pytest.mark.skipif(not LINUX, reason="reads /proc")
def test_memory_stays_flat_over_thousands_of_calls(demo_int8: Path) -> None:
    words = [
        "a",
        "library",
        "of",
        "simple",
        "tools",
        "for",
        "reading",
        "and",
        "writing",
        "text",
        "files",
        "with",
        "cards",
        "sound",
        "and",
        "network",
        "support",
    ]
    draw = random.Random(0)
    with zen_edge.load(demo_int8, threads=1) as pipeline:

        def calls(count: int) -> None:
            for _ in range(count):
                pipeline(" ".join(draw.choices(words, k=draw.randint(1, 60))), num_beams=draw.choice((1, 1, 1, 4)), max_new_tokens=draw.randint(1, 6))

        calls(1000)
        before = resident()
        calls(4000)
        assert resident() - before < 8e6


def resident() -> float:
    """Bytes of memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_usage_events_are_off_unless_the_user_says_otherwise(demo_int8: Path) -> None:
    code = """
        import os, sys
        import zen_edge
        zen_edge.load(sys.argv[1])
        print(os.environ["ORT_DISABLE_TELEMETRY"])
    """
    assert child(code, demo_int8).stdout.strip() == "1"
