"""The protocol between the parent and an engine's process."""

import sys
from pathlib import Path

import pytest

from zen_edge.benchmarks.process import Worker, WorkerError

FILE = Path(__file__).with_name("fake_engine.py")
REQUEST = {"texts": ["a b", "c"], "num_beams": 1, "max_new_tokens": 8, "exactly": False, "count": True}


def loaded(behaviour: str) -> Worker:
    worker = Worker(Path(sys.executable), FILE, threads=3)
    worker.ask("load", 60, folder=".", precision=behaviour, threads=3)
    return worker


def test_an_answer_has_texts_tokens_time_and_memory() -> None:
    with loaded("good") as worker:
        answer = worker.ask("translate", 60, **REQUEST)
    assert answer["texts"] == ["a b (3)", "c (3)"]  # the thread count reached the engine's libraries
    assert answer["tokens"] == [2, 1]
    assert 0 <= answer["seconds"] < 1
    assert 5 < answer["peak_memory_mb"] < 200


def test_loading_tells_versions() -> None:
    with Worker(Path(sys.executable), FILE, threads=1) as worker:
        assert worker.ask("load", 60, folder=".", precision="good", threads=1)["versions"].keys() == {"numpy"}


def test_noise_does_not_reach_the_protocol() -> None:
    with loaded("noisy") as worker:
        for _ in range(3):
            assert worker.ask("translate", 60, **REQUEST)["texts"] == ["a b (3)", "c (3)"]


def test_a_death_is_told_with_the_last_words() -> None:
    with loaded("dies") as worker, pytest.raises(WorkerError, match=r"its process ended with exit status 7: the last words"):
        for _ in range(9):
            worker.ask("translate", 60, **REQUEST)


def test_asking_the_dead_again_is_told_too() -> None:
    with loaded("killed") as worker:
        for _ in range(2):
            with pytest.raises(WorkerError, match=r"ended by SIGKILL \(out of memory\?\)"):
                worker.ask("translate", 60, **REQUEST)


def test_no_answer_in_time_ends_the_process() -> None:
    worker = loaded("slow")
    with pytest.raises(WorkerError, match=r"no answer within 0.2 seconds"):
        worker.ask("translate", 0.2, **REQUEST)
    assert worker._process.poll() is not None
    worker.close()


def test_an_error_is_one_line_and_the_process_goes_on() -> None:
    with loaded("raises") as worker:
        for _ in range(2):
            with pytest.raises(WorkerError, match=r"^ValueError: no such word$"):
                worker.ask("translate", 60, **REQUEST)


def test_the_worker_needs_nothing_but_the_standard_library() -> None:
    import subprocess

    request = '{"do": "load", "folder": ".", "precision": "good", "threads": 1}\n'
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-P", Path(__file__).parents[2] / "benchmarks" / "worker.py", FILE],
        input=request,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert '"seconds"' in done.stdout, done.stderr
