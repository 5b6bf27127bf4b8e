"""What hangs or dies in a process of its own ends nothing else."""

import os
import sys
import time

import pytest

from zen_edge.benchmarks.apart import Apart
from zen_edge.errors import ZenEdgeError

MEMORY = 2**30


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    """A fresh process reads the script that began this one, which would be all tests once more where its last line is not guarded."""
    monkeypatch.setattr(sys.modules["__main__"], "__file__", None, raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None, raising=False)


def test_one_process_answers_until_it_dies_and_another_goes_on():
    apart = Apart(eval, seconds=30, memory=MEMORY)
    first = apart("__import__('os').getpid()")
    assert first not in (None, os.getpid())
    assert apart("__import__('os').getpid()") == first
    with pytest.raises(ZenEdgeError, match="its process died"):
        apart("__import__('os')._exit(3)")
    assert apart("__import__('os').getpid()") != first
    apart.close()


def test_what_takes_too_long_is_ended():
    apart = Apart(time.sleep, seconds=0.2, memory=MEMORY)
    with pytest.raises(ZenEdgeError, match=r"more than 0\.2 seconds"):
        apart(60)
