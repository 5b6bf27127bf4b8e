"""Runs a saved case and keeps its result, from which README's tables are written.

python -m zen_edge.benchmarks.run CASE [--bundle BUNDLE ...] [--results DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import zen_edge
from zen_edge.benchmarks import make_speech
from zen_edge.benchmarks.bench import Shape, bench, most_new_tokens
from zen_edge.benchmarks.cache import cache_folder, fingerprint, made_once
from zen_edge.benchmarks.make_checkpoint import SHAPES, write
from zen_edge.benchmarks.measure import Setting
from zen_edge.benchmarks.speech import clips, joined
from zen_edge.checked import dump
from zen_edge.errors import ZenEdgeError
from zen_edge.files import write_whole
from zen_edge.inputs import BUILT_IN, Line, read_lines

HERE = Path(__file__).parent
RESULTS = HERE / "results"
SHIPPED = {"demo": "marian-en-fr", "summaries": "bart-summaries"}


@dataclass(frozen=True)
class Case:
    """checkpoint: one that ships, a shape of make_checkpoint, or a folder in one of those that the variable ZEN_EDGE_CHECKPOINTS names. shapes: (batch size, beams). inputs: relative to the project's folder; None: built in.
    task: where the checkpoint does not say it. clip_seconds, clips: so many clips of exactly this length, joined of those of make_speech.
    batched: bundles a second time, recordings cut at their silences."""

    name: str
    title: str
    checkpoint: str
    precisions: tuple[str, ...]
    against: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    threads: int
    seconds: float = 60
    rounds: int | None = None
    source_tokens: int | None = None
    new_tokens: int | None = None
    inputs: str | None = None
    limit: int | None = None
    task: str | None = None
    warm_up: int = 2
    clip_seconds: float | None = None
    clips: int = 6
    batched: bool = False


def known() -> list[str]:
    return sorted(file.stem for file in (HERE / "cases").glob("*.json"))


def read_case(name: str) -> Case:
    """ZenEdgeError for a name that has no file."""
    if name not in known():
        raise ZenEdgeError(f"there is no case {name!r}; there are: {', '.join(known())}. (A new one is a file benchmarks/cases/{name}.json.)")
    return Case(name, **json.loads((HERE / "cases" / f"{name}.json").read_text(encoding="utf-8")))


def run(case: Case, bundles: Sequence[Path], tell: Callable[[str], None]) -> dict[str, Any]:
    """bundles: instead of exporting the checkpoint in the case's precisions."""
    model = _checkpoint(case.checkpoint, tell)
    with tempfile.TemporaryDirectory() as folder:
        lines = _lines(case, Path(folder), tell)
        measured = list(bundles) or [_exported(case, model, Path(folder) / name, name, tell) for name in case.precisions]
        setting = Setting(
            case.threads,
            case.new_tokens or most_new_tokens(measured[0]),
            exactly=case.new_tokens is not None,
            rounds=case.rounds,
            seconds=case.seconds,
            warm_up=case.warm_up,
        )
        shapes = [Shape(*shape) for shape in case.shapes]
        report = bench(measured, case.against, str(model), shapes, lines, setting, source_tokens=case.source_tokens, batched=case.batched, tell=tell)
    for row in report["cases"]:
        del row["folder"]  # of this machine
    return {"case": case.name, "title": case.title, **report}


def _lines(case: Case, folder: Path, tell: Callable[[str], None]) -> tuple[Line, ...]:
    if case.clip_seconds is None:
        return BUILT_IN[: case.limit] if case.inputs is None else read_lines(HERE.parent / case.inputs, case.limit)
    lines = joined(clips(spoken(tell)), case.clip_seconds, case.clips, folder / "clips")
    return tuple(replace(line, target=None) for line in lines) if case.checkpoint in SHAPES else lines  # of random weights nobody expects words


def spoken(tell: Callable[[str], None]) -> Path:
    """The folder of make_speech's clips."""
    key = fingerprint(Path(make_speech.__file__).read_text(encoding="utf-8"))
    tell("synthesize speech (once)")
    return made_once(cache_folder() / "speech" / key, make_speech.write)


def _checkpoint(name: str, tell: Callable[[str], None]) -> Path:
    if name in SHIPPED:
        return Path(zen_edge.__file__).parent / "data" / SHIPPED[name]
    named = os.environ.get("ZEN_EDGE_CHECKPOINTS", "").split(os.pathsep)
    if folder := next((path for room in named if room and ((path := Path(room) / name) / "config.json").is_file()), None):
        return folder.resolve()
    if name not in SHAPES:
        raise ZenEdgeError(
            f"there is no checkpoint {name!r}; there are: {', '.join((*SHIPPED, *SHAPES))}, and those in the folders that ZEN_EDGE_CHECKPOINTS names."
        )
    key = fingerprint(Path(sys.modules[write.__module__].__file__ or "").read_text(encoding="utf-8"))

    def make(out: Path) -> None:
        tell(f"make the checkpoint {name} (once)")
        write(out, name)

    return made_once(cache_folder() / "checkpoints" / f"{name}-{key}", make)


def _exported(case: Case, model: Path, out: Path, precision: str, tell: Callable[[str], None]) -> Path:
    return zen_edge.export(model, out, task=case.task, precision=precision, tell=lambda step: tell(f"{precision}: {step}")).path


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a saved benchmark case.")
    parser.add_argument("case", choices=known())
    parser.add_argument("--bundle", type=Path, action="append", default=[], help="measure this bundle; may be given again")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to save into")
    given = parser.parse_args()
    from rich.console import Console

    from zen_edge.benchmarks.terminal import print_report
    from zen_edge.cli.progress import steps

    try:
        with steps() as tell:
            report = run(read_case(given.case), given.bundle, tell)
        given.results.mkdir(parents=True, exist_ok=True)
        write_whole(given.results / f"{given.case}.json", dump(report) + "\n")
    except ZenEdgeError as error:
        sys.exit(f"{given.case}: {error}")
    print_report(report, Console(width=150))


if __name__ == "__main__":
    main()
