"""Measure bundles beside other engines: who takes part, what they translate, taking turns, one report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zen_edge.benchmarks import contestants as field
from zen_edge.benchmarks.contestants import Contestant, Failure
from zen_edge.benchmarks.engines import ANSWERS, EMBEDDING, SPEECH
from zen_edge.benchmarks.inputs import batches, fitting, made_up
from zen_edge.benchmarks.machine import gpu_name, machine, versions
from zen_edge.benchmarks.measure import SETTLE_S, Setting, measure
from zen_edge.benchmarks.rows import case_rows, failure_row
from zen_edge.benchmarks.speech import seconds
from zen_edge.errors import InputError, OptionError
from zen_edge.inputs import Line
from zen_edge.manifest import hears_utterances, read_manifest

SCORED = {
    "summarization": "ROUGE-1/2/L are mean F-measures against the given targets, words stemmed, of the rouge-score library.",
    SPEECH: "WER is the word error rate in percent against the given words, case and punctuation left out, of the jiwer library: less is better. "
    "encoder_ms is the encoder's part of a call, encoder_ms_per_window that of each window (or utterance) that it was given, short ones included; decoder_ms_per_token is the rest of it, reading the file and features included, over its tokens; "
    "real_time_factor is seconds for a second of sound. Every engine is told the language, and falls back to no other temperature.",
}
SCORED |= {
    ANSWERS: "EM and F1 are SQuAD's, against the given answers. Tokens are those that are read.",
    EMBEDDING: "agreement is the least cosine to the vectors of another engine. Tokens are those that are read.",
}
NEW_TOKENS = 128  # most of them, where nothing else is asked for and the model has room


@dataclass(frozen=True)
class Shape:
    batch_size: int
    num_beams: int


def bench(
    bundles: Sequence[Path],
    against: Sequence[str],
    model: str | None,
    shapes: Sequence[Shape],
    lines: Sequence[Line],
    setting: Setting,
    *,
    source_tokens: int | None = None,
    batched: bool = False,
    tell: Callable[[str], None] = lambda step: None,
) -> dict[str, Any]:
    """The report, as JSON. lines: for speech their sources are paths of sound files. source_tokens: translate made-up lines of this length in place of `lines`.
    batched: bundles that hear windows a second time, with recordings cut at their silences and the parts heard side by side.

    An engine that cannot take part, dies or fails is told under "failures", and the others go on.
    """
    asked = field.asked_for(against)
    ours = field.of_bundles(bundles, batched)
    task, room = _common_task(bundles), read_manifest(bundles[0]).limits.get("max_target_length")
    if room is not None and setting.max_new_tokens > room:
        raise OptionError(f"the model has room for {room} tokens of output, fewer than {setting.max_new_tokens}.")
    if setting.cuda_graphs:
        _require_recordable(bundles, setting.device)
    if batched and not all(map(_hears_windows, bundles)):
        raise OptionError("batched is for speech that is heard in windows, as Whisper hears it.")
    if task == SPEECH and source_tokens is not None:
        raise OptionError("source_tokens is for texts; the length of speech is that of its clips.")
    chosen = (
        tuple(lines)
        if task in (SPEECH, ANSWERS)
        else fitting(lines, bundles[0])
        if source_tokens is None
        else made_up(lines, bundles[0], source_tokens, setting.seed)
    )
    if not chosen:
        raise InputError("the model has room for none of the lines.")
    about, told = machine(), versions()
    others, failures = _parted(field.of_engines(asked, field.find_model(model, bundles), tell, task)) if asked else ([], [])
    everyone = [*ours, *others]
    rows: list[dict[str, Any]] = []
    for shape in shapes:
        asked_about = batches([line.source for line in chosen], shape.batch_size)
        case, failed = measure(everyone, asked_about, shape.num_beams, setting, tell, task)
        audio_s = [sum(map(seconds, batch.texts)) for batch in asked_about] if task == SPEECH else []
        each_round = [audio_s[number % len(audio_s)] for number in range(setting.rounds_for(len(audio_s)))] if audio_s else []
        rows += case_rows(case, shape.batch_size, shape.num_beams, chosen, ours[0].name, _reference(everyone), task, each_round)
        failures += failed
        told |= {f"{name}{_apart(measured.contestant)}": version for measured in case for name, version in measured.versions.items()}
    return {
        "machine": about | {"threads": setting.threads} | ({} if setting.device == "cpu" else {"gpu": gpu_name()}),
        "versions": told,
        "cases": rows,
        "failures": [failure_row(failure) for failure in failures],
        "setting": {
            "task": task,
            "device": setting.device,
            "memory": setting.memory,
            "cuda_graphs": setting.cuda_graphs,
            "interleaved": len(everyone) > 1,
            "baseline": ours[0].name,
            "lines": len(chosen),
            "lines_left_out": len(lines) - len(chosen) if source_tokens is None else 0,
            "source_tokens": source_tokens,
            "max_new_tokens": setting.max_new_tokens,
            "exactly": setting.exactly,
            "warm_up_calls": setting.warm_up,
            "seconds": setting.seconds,
            "seed": setting.seed,
        },
        "notes": [*busy(about), *notes(setting, len(everyone) > 1, task)],
    }


def _require_recordable(bundles: Sequence[Path], device: str) -> None:
    """OptionError where runs of a bundle cannot be recorded in CUDA graphs."""
    from zen_edge.runtimes.binding import require_recordable

    if device != "cuda":
        raise OptionError(f"CUDA graphs are of cuda, and this is measured on {device}: give --device cuda, or leave cuda_graphs out.")
    for bundle in bundles:
        try:
            require_recordable(read_manifest(bundle))
        except OptionError as error:
            raise OptionError(f"{bundle.name}: {error}") from None


def _hears_windows(bundle: Path) -> bool:
    manifest = read_manifest(bundle)
    return manifest.task == SPEECH and not hears_utterances(manifest) and any(graph.name == "decoder" for graph in manifest.graphs)


def _common_task(bundles: Sequence[Path]) -> str:
    tasks = {read_manifest(bundle).task for bundle in bundles}
    if len(tasks) > 1:
        raise InputError(f"the bundles are for different tasks ({', '.join(sorted(tasks))}): measure them one task at a time.")
    return tasks.pop()


def most_new_tokens(bundle: Path) -> int:
    """NEW_TOKENS, or what the model has room for behind the decoder's start."""
    return min(NEW_TOKENS, read_manifest(bundle).limits.get("max_target_length", NEW_TOKENS + 1) - 1)


def busy(about: dict[str, Any]) -> list[str]:
    """A warning, where other processes were running when the measurement began."""
    load, cores = about["load_average_at_start"], about["cores_usable"]
    if load is None or load < 0.5 * cores:
        return []
    return [f"The machine was busy (load average {load} on {cores} cores): measure again when it is idle before you rely on these figures."]


def notes(setting: Setting, interleaved: bool, task: str) -> list[str]:
    """How it was measured, and what was not."""
    turns = (
        f"Interleaved: every round asks each engine once, in shuffled order, about the same lines, with a pause of {1e3 * SETTLE_S:.0f} ms between turns. "
        "Engines evict each other's weights from the CPU's caches; one that runs alone is faster."
        if interleaved
        else "Alone: no other engine ran in between, so the CPU's caches stayed warm."
    )
    length = (
        f"Every output has exactly {setting.max_new_tokens} tokens, whatever the model would say: texts of such outputs measure speed, not quality."
        if setting.exactly
        else f"Outputs end where the model ends them, after {setting.max_new_tokens} tokens at most; engines whose texts differ may have had more or fewer to generate."
    )
    return [
        "Each engine runs in a process of its own, with the same number of threads, lines, batches, beams and lengths; a fresh process for each case.",
        turns,
        "Latency is one call with one batch of texts: tokenization, search and detokenization are in it.",
        "Not timed: starting Python, converting or exporting the model, passing texts between processes, counting tokens, warm-up calls.",
        "load_s is importing the engine and loading the model, whose files were read once before; first_call_s is the first call after it.",
        "peak_memory_mb is the most memory the process ever held; disk_mb is all files of the folder it loads, the engine's own libraries left out (1 MB is 1e6 bytes).",
        "cpu_ms is the median time that all threads of a call spent on the CPU, spinning included.",
        "time_ratio is an engine's time over the first bundle's, round by round: above 1 the bundle is faster, below 1 it is slower.",
        *(["Bundles record runs in CUDA graphs and replay them; other engines are as they are."] if setting.cuda_graphs else []),
        length,
        SCORED.get(task, "chrF is against the given targets."),
        "agreement is chrF against the texts of another engine, and says nothing about which of the two is better.",
    ]


def _parted(prepared: Any) -> tuple[list[Contestant], list[Failure]]:
    everyone = list(prepared)
    return [one for one in everyone if isinstance(one, Contestant)], [one for one in everyone if isinstance(one, Failure)]


def _reference(everyone: Sequence[Contestant]) -> str:
    """Whose texts the others are held against: PyTorch, else the bundle nearest to it."""
    names = [one.name for one in everyone]
    return next((name for name in ("torch fp32", "zen-edge fp32") if name in names), names[0])


def _apart(contestant: Contestant) -> str:
    """Behind the name of a package that comes from an environment of its own."""
    return f" ({contestant.engine.name})" if contestant.engine.environment else ""
