"""One engine in a process of its own: requests come and answers go as JSON lines, over the stdin and stdout that this process was started with.

    python -P worker.py ENGINE.py

Run by its path, and made of the standard library alone, so that it works in an environment that has no zen-edge and measures none of it.
What libraries print goes to stderr, whatever way they print it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

LOADS = {"speech-recognition": "load_speech", "text-embedding": "load_encoder", "question-answering": "load_encoder"}


def main(engine: str) -> None:
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w", buffering=1)
    with open(os.devnull) as nothing:  # noqa: PTH123 - a file descriptor is needed, not a path
        os.dup2(nothing.fileno(), 0)  # an engine that reads stdin must not eat requests
    os.dup2(2, 1)  # nor may one that prints break answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it closes stdin, which ends this loop
    module = _load_file(Path(engine))
    translate: Callable[..., Any] | None = None
    for line in requests:
        request = json.loads(line)
        do = request.pop("do")
        try:
            if do == "convert":
                module.convert(Path(request["model"]), Path(request["out"]), request["precision"], request["task"])
                answer: dict[str, Any] = {}
            elif do == "load":
                start = time.perf_counter()
                load = LOADS.get(request.get("task"), "load")
                more: dict[str, Any] = {"task": request["task"]} if load == "load_encoder" else {}
                if request.get("device", "cpu") != "cpu":
                    more["device"] = _able(module, request["device"])
                if request.get("memory") is not None and getattr(module, "KEEPS_WEIGHTS", False):
                    more["memory"] = request["memory"]
                if request.get("cuda_graphs") and getattr(module, "RECORDS_RUNS", False):
                    more["cuda_graphs"] = True
                translate = getattr(module, load)(Path(request["folder"]), request["precision"], request["threads"], **more)
                answer = {
                    "seconds": time.perf_counter() - start,
                    "versions": {name: found for name in module.PACKAGES if (found := _version(name)) is not None},
                }
            else:
                assert translate is not None
                answer = _timed(translate, **request)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises is the parent's to tell
            answer = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"}
        answers.write(json.dumps(answer) + "\n")


def _able(module: ModuleType, device: str) -> str:
    able = getattr(module, "DEVICES", ("cpu",))
    if device not in able:
        raise ValueError(f"measured on {', '.join(able)} only, not on {device}")
    return device


def _timed(translate: Callable[..., Any], count: bool, **request: Any) -> dict[str, Any]:
    """count: also tell the tokens of each text, which is not timed: some engines must work for it."""
    start, cpu_start = time.perf_counter(), time.process_time()
    texts, tokens = translate(**request)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    answer = {"seconds": seconds, "cpu_seconds": cpu_seconds, "texts": texts, "peak_memory_mb": peak_memory_mb()}
    if hasattr(translate, "encoder_seconds"):  # asked before tokens are counted, which may take another run
        answer["encoder"] = translate.encoder_seconds(), translate.encoder_windows()
    return answer | ({"tokens": tokens()} if count else {})


def peak_memory_mb() -> float:
    """The most memory this process ever held, in 1e6 bytes. Linux's VmHWM, because ru_maxrss there starts from what the parent held."""
    try:
        status = Path("/proc/self/status").read_text()
        kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
        return kilobytes * 1024 / 1e6
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _load_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("engine", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(sys.argv[1])
