"""The parent's side of a worker: start it, ask it, tell why it died."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from zen_edge.checked import printable
from zen_edge.errors import ZenEdgeError

WORKER = Path(__file__).with_name("worker.py")
QUIET = {
    "HF_HUB_OFFLINE": "1",  # models are folders here: nothing may be looked up while time is taken
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",  # a few lines gain nothing, and it would use more threads than were asked for
    "ORT_DISABLE_TELEMETRY": "1",  # for engines that bring their own ONNX Runtime
}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class WorkerError(ZenEdgeError):
    """A worker died, did not answer in time, or met an error."""


class Worker:
    """One engine's process. Not shared between threads."""

    def __init__(self, python: Path, engine: Path, threads: int) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close(); a pipe nobody reads would block the worker when full
        self._process = subprocess.Popen(
            [python, "-P", WORKER, engine],  # -P: the worker's folder holds names of the standard library and must not be searched
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=os.environ | QUIET | dict.fromkeys(THREADS, str(threads)),
        )
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def ask(self, do: str, limit_s: float, **request: Any) -> dict[str, Any]:
        """The worker's answer. WorkerError if it gives none within `limit_s` seconds; then it is ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._last_words()) from None
        try:
            line = self._answers.get(timeout=limit_s)
        except queue.Empty:
            self.close()
            raise WorkerError(f"no answer within {limit_s:g} seconds; it was ended.") from None
        if not line:
            raise WorkerError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(printable(answer["error"]))
        return answer

    def close(self) -> None:
        """Ends the process; may be called again."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._stderr):
            try:
                if file is not None:
                    file.close()
            except BrokenPipeError:
                pass  # a request that it never read

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _listen(self) -> None:
        """Hands lines over, and b"" at the end, so that waiting for one can have a limit."""
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._answers.put(line)
        self._answers.put(b"")

    def _last_words(self) -> str:
        code = self._process.wait()
        how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
        if code == -signal.SIGKILL:
            how += " (out of memory?)"
        self._stderr.seek(0)
        said = [line.strip() for line in self._stderr.read().decode(errors="replace").splitlines() if line.strip()]
        return f"its process {how}{f': {printable(said[-1])[:300]}' if said else '.'}"
