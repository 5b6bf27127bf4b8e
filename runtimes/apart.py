"""Threads of a session kept apart, each on a processor of its own.

Linux in a virtual machine likes to wake a sleeping thread on the processor of the one that waits for it: the others, halted, count as taken by the host. There
the two share a processor until the next tick. Calls of 2 ms (22 million parameters in int8, 20 tokens, two threads) that come 20 ms apart took 7.3 ms, with nine in ten below 9; on processors of
their own 3.1, nine in ten below 3.7.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time

from zen_edge.runtimes.cores import processors, usable_cores

PAUSE = 0.002  # seconds without a run after which the caller may have been moved


class Apart:
    """Of a session that takes all processors which the process may use; of others, which share the machine, it does nothing.

    settings: ONNX Runtime's, by name.
    """

    def __init__(self, threads: int) -> None:
        """threads: of the session, its callers counted as one."""
        own = processors()
        self._free, *taken = own if 1 < threads == len(own) == usable_cores() else [-1]
        self._taken = frozenset(taken)
        # ONNX Runtime counts processors from 1.
        self.settings = {"session.intra_op_thread_affinities": ";".join(str(one + 1) for one in taken)} if taken else {}
        self._here = getattr(ctypes.CDLL(None), "sched_getcpu", None) if taken else None
        self._running = threading.Lock()
        self._ended = 0.0

    def enter(self) -> bool:
        """Before a run: the first to come after a pause steps off the processors of the session's threads. Returns whether it was the only one running."""
        if self._here is None or not self._running.acquire(blocking=False):
            return False
        if time.monotonic() - self._ended > PAUSE and self._here() in self._taken:
            self._step_aside()
        return True

    def leave(self, alone: bool) -> None:
        """After a run, with what `enter` returned."""
        if alone:
            self._ended = time.monotonic()
            self._running.release()

    def _step_aside(self) -> None:
        """The calling thread goes on elsewhere, with the choice of processors that it had."""
        allowed = os.sched_getaffinity(0)
        if self._free not in allowed:
            return
        try:
            os.sched_setaffinity(0, {self._free})
            os.sched_setaffinity(0, allowed)
        except OSError:
            pass  # a container may forbid it, and the run is as right where it is
