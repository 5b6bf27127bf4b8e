"""A function in a process of its own, so that what hangs or dies there ends nothing else."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from zen_edge.errors import ZenEdgeError


class Apart:
    """Calls a function that can be pickled, one call after another, in one process that is begun again where a call took it down.

    seconds: for one call. memory: bytes that the process may have; past them its allocations fail. The call raises ZenEdgeError where there is no answer.
    """

    def __init__(self, function: Callable[..., Any], *, seconds: float, memory: int) -> None:
        self._function, self._seconds, self._memory = function, seconds, memory
        self._process: Any = None

    def __call__(self, *given: Any) -> Any:
        if self._process is None:
            self._begin()
        try:
            self._calls.send(given)
            if self._calls.poll(self._seconds):
                return self._calls.recv()
            reason = f"it took more than {self._seconds:g} seconds"
        except (EOFError, ConnectionError):
            reason = "its process died"
        self.close()
        raise ZenEdgeError(f"{reason}.")

    def _begin(self) -> None:
        fresh = multiprocessing.get_context("spawn")
        self._calls, theirs = fresh.Pipe()
        self._process = fresh.Process(target=_serve, args=(theirs, self._function, self._memory), daemon=True)
        self._process.start()
        theirs.close()  # or its end would not be told

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._calls.close()
            self._process = None


def _serve(calls: Connection, function: Callable[..., Any], memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    while True:
        try:
            given = calls.recv()
        except EOFError:  # nobody asks any more
            return
        calls.send(function(*given))
