"""The whole of zen-edge on the models that ship with it: export, parity, speed, translations and summaries."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from zen_edge.parity import ParityReport

TIMED_LINES = 12
COMPARED_LINES = 16
BEAMS = 4


@dataclass(frozen=True)
class Shipped:
    """A checkpoint inside the package, and lines with their references that it was not trained on. examples: what a demo shows it on; None: the
    first of the lines."""

    task: str
    checkpoint: str
    lines: str
    examples: tuple[str, ...] | None = None

    @property
    def folder(self) -> Path:
        return _data(self.checkpoint)

    def sources(self, count: int) -> list[str]:
        return [json.loads(line)["source"] for line in _data(self.lines).read_text(encoding="utf8").splitlines()[:count]]


TRANSLATOR = Shipped(
    "translation",
    "marian-en-fr",
    "descriptions.en-fr.jsonl",
    (
        "library of tools for reading text files",
        "simple game with cards for two players",
        "graphical tool to manage network connections",
        "development files for the sound library",
    ),
)
SUMMARIZER = Shipped("summarization", "bart-summaries", "summaries.jsonl")


@dataclass(frozen=True)
class Demo:
    """parity: the fp32 bundle against PyTorch. milliseconds: median per line of each engine, one line at a time, beam 4, interleaved. answers: an
    input and what the int8 bundle makes of it."""

    task: str
    parity: ParityReport
    int8_parity: ParityReport
    milliseconds: dict[str, float]
    megabytes: dict[str, float]
    answers: tuple[tuple[str, str], ...]


def shipped_model() -> Path:
    """The translator's checkpoint folder."""
    return TRANSLATOR.folder


def shipped_lines() -> Path:
    """Test lines with their French, which the shipped translator was not trained on."""
    return _data(TRANSLATOR.lines)


def _data(name: str) -> Path:
    return Path(str(files("zen_edge").joinpath("data", name)))


def demo(folder: Path, tell: Callable[[str], None]) -> tuple[Demo, ...]:
    """For the translator and then the summarizer: writes the bundles `TASK-fp32` and `TASK-int8` into `folder` and compares them with PyTorch and
    with each other."""
    return tuple(_shown(shipped, folder, _prefixed(f"{shipped.task}, ", tell)) for shipped in (TRANSLATOR, SUMMARIZER))


def _shown(shipped: Shipped, folder: Path, tell: Callable[[str], None]) -> Demo:
    import zen_edge

    bundles, reports = {name: folder / f"{shipped.task}-{name}" for name in ("fp32", "int8")}, {}
    for precision, bundle in bundles.items():
        zen_edge.export(shipped.folder, bundle, task=shipped.task, precision=precision, verify=False, tell=_prefixed(f"{precision}: ", tell))
        prefixed = _prefixed(f"{precision} parity: ", tell)
        reports[precision] = zen_edge.parity(bundle, shipped.folder, inputs=_data(shipped.lines), limit=COMPARED_LINES, tell=prefixed)
    tell("time against PyTorch")
    engines: dict[str, Callable[[str], Any]] = {"PyTorch fp32": _pytorch(shipped.folder)}
    engines |= {f"zen-edge {name}": zen_edge.load(bundle) for name, bundle in bundles.items()}
    sizes = {"PyTorch fp32": _megabytes(shipped.folder)} | {f"zen-edge {name}": _megabytes(bundle) for name, bundle in bundles.items()}
    times = _interleaved(engines, shipped.sources(TIMED_LINES))
    answer = engines["zen-edge int8"]
    examples = shipped.examples or shipped.sources(3)
    return Demo(shipped.task, reports["fp32"], reports["int8"], times, sizes, tuple((line, answer(line)) for line in examples))


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.iterdir()) / 1e6


def _prefixed(prefix: str, tell: Callable[[str], None]) -> Callable[[str], None]:
    return lambda step: tell(prefix + step)


def _pytorch(model: Path) -> Callable[[str], Any]:
    from zen_edge.exporters.checkpoint import load_checkpoint
    from zen_edge.exporters.reference import Reference
    from zen_edge.runtimes.batching import pad

    reference = Reference(load_checkpoint(model))

    def translate(line: str) -> str:
        ids, mask = pad([reference.encode(line)], reference.pad_token_id)
        return reference.decode(reference.generate(ids, mask, BEAMS, None)[0])

    return translate


def _interleaved(engines: dict[str, Callable[[str], Any]], lines: list[str]) -> dict[str, float]:
    """Median milliseconds per line of each engine, taking turns on every line after one to warm up."""
    for translate in engines.values():
        translate(lines[0])
    times: dict[str, list[float]] = {name: [] for name in engines}
    for line in lines:
        for name, translate in engines.items():
            start = time.perf_counter()
            translate(line)
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(taken) for name, taken in times.items()}
