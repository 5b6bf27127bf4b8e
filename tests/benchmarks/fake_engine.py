"""An engine that misbehaves in the way its precision is named after; the worker runs this file by its path."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

PRECISIONS = ("good", "noisy", "dies", "killed", "slow", "raises", "half", "broken")
PACKAGES = ("numpy",)
INSTALL = "pip install numpy"
KEEPS_WEIGHTS = True
RECORDS_RUNS = True


def load(
    folder: Path, precision: str, threads: int, memory: str = "", cuda_graphs: bool = False
) -> Callable[..., tuple[list[str], Callable[[], list[int]]]]:
    calls = 0

    def translate(texts: list[str], num_beams: int, max_new_tokens: int, exactly: bool) -> tuple[list[str], Callable[[], list[int]]]:
        nonlocal calls
        calls += 1
        if precision == "noisy":
            print('{"seconds": 0, "texts": []}')
            os.write(1, b"\xff not a line of the protocol")
            assert sys.stdin.read() == ""
        if precision == "dies" and calls > 4:
            print("the last words", file=sys.stderr)
            os._exit(7)
        if precision == "killed":
            os.kill(os.getpid(), 9)
        if precision == "slow":
            time.sleep(60)
        if precision == "half":
            time.sleep(0.02)
        if precision == "raises":
            raise ValueError("no\nsuch word")
        return [f"{text} ({os.environ['OMP_NUM_THREADS']}{memory}{' recorded' * cuda_graphs})" for text in texts], lambda: [
            len(text.split()) for text in texts
        ]

    if precision == "broken":
        raise OSError("no such file")
    return translate


def convert(model: Path, out: Path, precision: str, task: str) -> None:
    if precision == "broken":
        raise OSError("no such checkpoint")
    out.mkdir()
    (out / "model.bin").write_bytes(b"made from " + (model / "config.json").read_bytes())


def load_speech(folder: Path, precision: str, threads: int) -> Callable[..., tuple[list[str], Callable[[], list[int]]]]:
    """Hears the words that stand beside each sound."""

    def hear(texts: list[str], num_beams: int, max_new_tokens: int, exactly: bool) -> tuple[list[str], Callable[[], list[int]]]:
        heard = [Path(text).with_suffix(".txt").read_text().strip() for text in texts]
        time.sleep(0.02)
        return [text.replace("cat", "hat") for text in heard], lambda: [len(text.split()) for text in heard]

    hear.encoder_seconds, hear.encoder_windows = (lambda: 0.01), (lambda: 2)  # type: ignore[attr-defined]
    return hear
