"""Threads of a session on processors of their own."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from zen_edge.runtimes import apart
from zen_edge.runtimes.apart import Apart
from zen_edge.runtimes.providers import find_provider
from zen_edge.runtimes.session import Session

TASKS = Path("/proc/self/task")
LINUX = sys.platform == "linux"


def on(monkeypatch: pytest.MonkeyPatch, processors: list[int], usable: int | None = None) -> list[set[int]]:
    """As if the process may use these, of which it gets so much time; returns what threads are moved to."""
    moved: list[set[int]] = []
    monkeypatch.setattr(apart, "processors", lambda: processors)
    monkeypatch.setattr(apart, "usable_cores", lambda: len(processors) if usable is None else usable)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(processors), raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, to: moved.append(set(to)), raising=False)
    return moved


def test_all_processors_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, [2, 3, 5, 7])
    assert Apart(4).settings == {"session.intra_op_thread_affinities": "4;6;8"}


@pytest.mark.parametrize(
    ("processors", "usable", "threads"), [([0, 1, 2, 3], 4, 2), ([0, 1, 2, 3], 2, 4), ([0, 1, 2, 3], 2, 2), ([0], 1, 1), ([], 4, 4), ([0, 1], 2, 8)]
)
def test_a_part_of_them_is_left_to_the_system(monkeypatch: pytest.MonkeyPatch, processors: list[int], usable: int, threads: int) -> None:
    moved = on(monkeypatch, processors, usable)
    one = Apart(threads)
    one.leave(one.enter())
    assert not one.settings and not moved


def test_a_caller_steps_aside_after_a_pause_only_and_only_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = on(monkeypatch, [0, 1])
    one = Apart(2)
    here, now = [1], [10.0]
    monkeypatch.setattr(one, "_here", lambda: here[0])
    monkeypatch.setattr(apart.time, "monotonic", lambda: now[0])
    alone = one.enter()
    assert alone and moved == [{0}, {0, 1}]
    assert not one.enter() and len(moved) == 2, "another is running"
    one.leave(False)
    one.leave(alone)
    now[0] += apart.PAUSE / 2
    one.leave(one.enter())
    assert len(moved) == 2, "no pause"
    now[0], here[0] = 20.0, 0
    one.leave(one.enter())
    assert len(moved) == 2, "it is where it should be"
    here[0], now[0] = 1, 30.0
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1})
    one.leave(one.enter())
    assert len(moved) == 2, "the caller may run nowhere else"


def test_a_container_may_forbid_it(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, [0, 1])

    def forbidden(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    one = Apart(2)
    monkeypatch.setattr(one, "_here", lambda: 1)
    assert one.enter()


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    matrix = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", "n"])
    out = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", "n"])
    model = helper.make_model(helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "g", [matrix], [out]), ir_version=10)
    onnx.save(model, tmp_path / "g.onnx")
    return tmp_path / "g.onnx"


@pytest.mark.alone  # with all processors
@pytest.mark.skipif(not LINUX, reason="other systems do not say where a thread may run")
def test_the_threads_of_a_session_are_where_they_should_be(graph: Path) -> None:
    own = sorted(os.sched_getaffinity(0))
    before = set(TASKS.iterdir())
    session = Session(graph, find_provider("cpu"), None)
    new = set(TASKS.iterdir()) - before
    whole = bool(session._apart.settings)
    expected = [[one] for one in own[1:]] if whole else [own] * len(new)
    until = time.monotonic() + 30  # a thread moves itself when it first runs

    def places() -> list[list[int]]:
        return sorted(sorted(os.sched_getaffinity(int(thread.name))) for thread in new)

    while places() != expected and time.monotonic() < until:
        time.sleep(0.01)
    assert places() == expected
    assert whole == (1 < len(own) == apart.usable_cores())


@pytest.mark.alone  # with all processors
@pytest.mark.skipif(not LINUX, reason="other systems do not say where a thread may run")
def test_callers_keep_their_choice_of_processors_and_may_be_many(graph: Path) -> None:
    session, own = Session(graph, find_provider("cpu"), None), os.sched_getaffinity(0)
    x = np.eye(64, dtype=np.float32)
    seen: list[Any] = []

    def call() -> None:
        for _ in range(50):
            seen.append(np.array_equal(session.run({"x": x}, ["y"])["y"].numpy(), x))
        seen.append(os.sched_getaffinity(0) == own)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 4 * 51 and all(seen)
    assert os.sched_getaffinity(0) == own
