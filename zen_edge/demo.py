"""The whole of zen-edge on the model that ships with it: export, parity, speed, translations."""

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

SENTENCES = (
    "library of tools for reading text files",
    "simple game with cards for two players",
    "graphical tool to manage network connections",
    "development files for the sound library",
)
TIMED_LINES = 12
BEAMS = 4


@dataclass(frozen=True)
class Demo:
    """parity: the fp32 bundle against PyTorch. milliseconds: median per line of each engine, one line at a time, beam 4, interleaved."""

    parity: ParityReport
    int8_parity: ParityReport
    milliseconds: dict[str, float]
    megabytes: dict[str, float]
    translations: tuple[tuple[str, str], ...]


def shipped_model() -> Path:
    """The checkpoint folder inside the package."""
    return Path(str(files("zen_edge").joinpath("data", "marian-en-fr")))


def shipped_lines() -> Path:
    """Test lines with their French, which the shipped model was not trained on."""
    return Path(str(files("zen_edge").joinpath("data", "descriptions.en-fr.jsonl")))


def demo(folder: Path, tell: Callable[[str], None]) -> Demo:
    """Writes the bundles `fp32` and `int8` into `folder` and compares them with PyTorch and with each other."""
    import zen_edge

    model, reports = shipped_model(), {}
    for precision in ("fp32", "int8"):
        zen_edge.export(model, folder / precision, precision=precision, verify=False, tell=_prefixed(f"{precision}: ", tell))
        prefixed = _prefixed(f"{precision} parity: ", tell)
        reports[precision] = zen_edge.parity(folder / precision, model, inputs=shipped_lines(), limit=16, tell=prefixed)
    tell("time against PyTorch")
    lines = [json.loads(line)["source"] for line in shipped_lines().read_text(encoding="utf8").splitlines()[:TIMED_LINES]]
    engines: dict[str, Callable[[str], Any]] = {"PyTorch fp32": _pytorch(model)}
    engines |= {f"zen-edge {name}": zen_edge.load(folder / name) for name in reports}
    sizes = {f"zen-edge {name}": sum(file.stat().st_size for file in (folder / name).iterdir()) / 1e6 for name in reports}
    sizes["PyTorch fp32"] = sum(p.stat().st_size for p in model.iterdir()) / 1e6
    times = _interleaved(engines, lines)
    translate = engines["zen-edge int8"]
    return Demo(reports["fp32"], reports["int8"], times, sizes, tuple((line, translate(line)) for line in SENTENCES))


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
