"""Engines side by side: every round asks each of them once, in an order of its own, about the same lines."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from zen_edge.benchmarks.contestants import Contestant, Failure
from zen_edge.benchmarks.inputs import Batch
from zen_edge.benchmarks.process import Worker, WorkerError

LEAST_ROUNDS = 3  # however little time is given
SETTLE_S = 0.05  # between two turns: the threads of the one before may still spin


@dataclass(frozen=True)
class Setting:
    """rounds: None takes 20, or as many as it needs to see every line. seconds: no round begins after them. exactly: max_new_tokens, no fewer. memory,
    cuda_graphs: of bundles, as for `zen_edge.load`."""

    threads: int
    max_new_tokens: int
    exactly: bool = False
    device: str = "cpu"
    memory: str | None = None
    cuda_graphs: bool = False
    rounds: int | None = None
    seconds: float = 60
    warm_up: int = 2
    seed: int = 0
    call_limit_s: float = 600
    load_limit_s: float = 600

    def rounds_for(self, batches: int) -> int:
        return self.rounds or max(20, batches)


@dataclass
class Measured:
    """What one contestant did in one case; filled while it runs. texts: by line. seconds, cpu_seconds (of all threads), tokens: of each round."""

    contestant: Contestant
    load_s: float
    versions: dict[str, str]
    first_call_s: float = 0.0
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    texts: dict[int, Any] = field(default_factory=dict)
    peak_memory_mb: float = 0.0
    encoder_seconds: list[float] = field(default_factory=list)  # of each round, where the engine tells
    encoder_windows: list[int] = field(default_factory=list)  # that it was given


def turns(names: Sequence[str], seed: int) -> Iterator[list[str]]:
    """The order of each round, without end."""
    rng = random.Random(seed)
    while True:
        yield rng.sample(names, len(names))


def measure(
    contestants: Sequence[Contestant],
    batches: Sequence[Batch],
    num_beams: int,
    setting: Setting,
    tell: Callable[[str], None],
    task: str = "translation",
) -> tuple[list[Measured], list[Failure]]:
    """One case, each contestant in a fresh process. Who fails leaves, and the others go on."""
    size = len(batches[0].texts)
    failures: list[Failure] = []
    running: dict[str, tuple[Worker, Measured]] = {}
    counted: dict[tuple[str, int], int] = {}

    def fail(contestant: Contestant, error: WorkerError) -> None:
        failures.append(Failure(contestant.engine.name, contestant.precision, str(error), size, num_beams))
        if contestant.name in running:
            running.pop(contestant.name)[0].close()

    def call(name: str, number: int) -> tuple[float, float, tuple[float, int] | None]:
        """One turn. Returns its seconds, those of the CPU, and those and the windows of the encoder where the engine tells."""
        worker, measured = running[name]
        place = number % len(batches)
        batch, key = batches[place], (name, place)
        answer = worker.ask(
            "translate",
            setting.call_limit_s,
            texts=batch.texts,
            num_beams=num_beams,
            max_new_tokens=setting.max_new_tokens,
            exactly=setting.exactly,
            count=key not in counted and not setting.exactly,
        )
        if key not in counted:
            counted[key] = setting.max_new_tokens * size if setting.exactly else sum(answer["tokens"])
            for line, text in zip(batch.lines, answer["texts"], strict=True):
                measured.texts.setdefault(line, text)
        measured.peak_memory_mb = max(measured.peak_memory_mb, answer["peak_memory_mb"])
        return answer["seconds"], answer["cpu_seconds"], answer.get("encoder")

    with ExitStack() as stack:
        for contestant in contestants:
            tell(f"batch {size}, beam {num_beams}: load and warm up {contestant.name}")
            _read_once(contestant)
            worker = stack.enter_context(Worker(contestant.python, contestant.engine.file, setting.threads))
            try:
                loaded = worker.ask(
                    "load",
                    setting.load_limit_s,
                    folder=str(contestant.folder),
                    precision=contestant.precision,
                    threads=setting.threads,
                    task=task,
                    device=setting.device,
                    memory=setting.memory,
                    cuda_graphs=setting.cuda_graphs,
                )
                running[contestant.name] = worker, Measured(contestant, loaded["seconds"], loaded["versions"])
                running[contestant.name][1].first_call_s, *_ = call(contestant.name, 0)
                for number in range(setting.warm_up):
                    call(contestant.name, -1 - number)
            except WorkerError as error:
                fail(contestant, error)
        tell(f"batch {size}, beam {num_beams}: measure")
        by_name = {contestant.name: contestant for contestant in contestants}
        end = time.monotonic() + setting.seconds
        for number, order in enumerate(turns(list(by_name), setting.seed)):
            if not running or number >= setting.rounds_for(len(batches)) or (number >= LEAST_ROUNDS and time.monotonic() > end):
                break
            for name in [name for name in order if name in running]:
                time.sleep(SETTLE_S)
                try:
                    seconds, cpu_seconds, encoder = call(name, number)
                except WorkerError as error:
                    fail(by_name[name], error)
                else:
                    measured = running[name][1]
                    measured.seconds.append(seconds)
                    measured.cpu_seconds.append(cpu_seconds)
                    if encoder is not None:
                        measured.encoder_seconds.append(encoder[0])
                        measured.encoder_windows.append(encoder[1])
                    measured.tokens.append(counted[name, number % len(batches)])
        return [measured for _, measured in running.values()], failures


def _read_once(contestant: Contestant) -> None:
    """So that loading is from the page cache for everyone, whoever is first."""
    for file in contestant.folder.iterdir():
        if file.is_file():
            with file.open("rb") as content:
                while content.read(1 << 24):
                    pass
