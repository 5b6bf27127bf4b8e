"""How much time a short window saves: clips of several lengths through one Whisper bundle, in short windows and in whole ones, as a Markdown table.

    python -m zen_edge.benchmarks.window_table BUNDLE [--threads 2] [--rounds 12]

Every round hears each clip both ways, in shuffled order, so that a noisy machine slows both; a ratio is the median of the rounds' own.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import zen_edge
from zen_edge.benchmarks.machine import machine
from zen_edge.benchmarks.run import spoken
from zen_edge.benchmarks.speech import clips, joined, plain_word_error_rate
from zen_edge.inputs import Line

LENGTHS = (2.0, 5.0, 10.0, 20.0)  # seconds
WAYS = ("auto", "full")
CLIPS, NEW_TOKENS = 6, 128


@dataclass(frozen=True)
class Timed:
    """Milliseconds of each round; the texts of each clip."""

    ms: list[float]
    texts: dict[int, str]


def timed(pipeline: Any, lines: Sequence[Line], rounds: int, seed: int = 0) -> dict[str, Timed]:
    """By way of hearing."""
    rng = random.Random(seed)
    found = {way: Timed([], {}) for way in WAYS}
    for number in range(-1, rounds):  # the first warms up
        clip = number % len(lines)
        for way in rng.sample(WAYS, len(WAYS)):
            start = time.perf_counter()
            text = pipeline(lines[clip].source, window=way, max_new_tokens=NEW_TOKENS, **_language(pipeline))
            if number >= 0:
                found[way].ms.append(1e3 * (time.perf_counter() - start))
                found[way].texts[clip] = text
    return found


def _language(pipeline: Any) -> dict[str, str]:
    return {"language": "en"} if pipeline.manifest.generation.get("is_multilingual") else {}


def row(seconds: float, lines: Sequence[Line], found: dict[str, Timed]) -> str:
    short, whole = (found[way] for way in WAYS)
    ratio = float(np.median(np.array(whole.ms) / np.array(short.ms)))
    errors = (
        plain_word_error_rate([one.texts[i] for i in sorted(one.texts)], [str(lines[i].target) for i in sorted(one.texts)]) for one in (short, whole)
    )
    cells = [f"{seconds:g} s", *(f"{np.median(one.ms):.0f}" for one in (short, whole)), f"{ratio:.2f}", *(f"{error:.1f}" for error in errors)]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Write how much time a short window saves, as a Markdown table.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12)
    given = parser.parse_args()
    about = machine()
    print(f"{about['cpu']}, {given.threads} threads, load average {about['load_average_at_start']} on {about['cores_usable']} cores at the start")
    print()
    print("| clips of | short window, ms | whole window, ms | times as fast | WER short | WER whole |")
    print("|---|---:|---:|---:|---:|---:|")
    with zen_edge.load(given.bundle, threads=given.threads) as pipeline, tempfile.TemporaryDirectory() as folder:
        for seconds in LENGTHS:
            lines = joined(clips(spoken(lambda step: None)), seconds, CLIPS, Path(folder) / f"{seconds:g}")
            print(row(seconds, lines, timed(pipeline, lines, given.rounds)), flush=True)


if __name__ == "__main__":
    main()
