"""From times and texts to the rows of a report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from zen_edge.answer_scores import answer_scores
from zen_edge.benchmarks.contestants import Failure
from zen_edge.benchmarks.engines import ANSWERS, EMBEDDING, SPEECH
from zen_edge.benchmarks.measure import Measured
from zen_edge.benchmarks.speech import plain_word_error_rate
from zen_edge.inputs import Line
from zen_edge.text_scores import chrf, rouge, scores

# chrF and BLEU otherwise
SCORES = {
    "summarization": rouge,
    SPEECH: lambda texts, targets: {"WER": plain_word_error_rate(texts, targets)},
    ANSWERS: lambda texts, targets: answer_scores(texts, [json.loads(target) for target in targets]),
}


def case_rows(
    case: Sequence[Measured],
    batch_size: int,
    num_beams: int,
    lines: Sequence[Line],
    baseline: str,
    reference: str,
    task: str = "translation",
    audio_s: Sequence[float] = (),
) -> list[dict[str, Any]]:
    """One row for each contestant of a case. baseline: whose speed the others are told against. reference: whose texts. audio_s: of speech, how long the
    sound of each round is."""
    named = {measured.contestant.name: measured for measured in case}
    against = named.get(baseline)
    rows = []
    for name, measured in named.items():
        row = {
            "engine": measured.contestant.engine.name,
            "precision": measured.contestant.precision,
            "batch_size": batch_size,
            "num_beams": num_beams,
            "latency_ms": latencies(measured.seconds),
            "tokens_per_second": _digits(sum(measured.tokens) / sum(measured.seconds)),
            "load_s": _digits(measured.load_s),
            "first_call_s": _digits(measured.first_call_s),
            "peak_memory_mb": _digits(measured.peak_memory_mb),
            "disk_mb": _digits(measured.contestant.disk_mb),
            "quality": quality(measured, named.get(reference), lines, task),
            "name": name,
            "folder": str(measured.contestant.folder),
            "cpu_ms": _digits(1e3 * float(np.median(measured.cpu_seconds))),
            "rounds": len(measured.seconds),
            "rounds_ms": [_digits(1e3 * seconds) for seconds in measured.seconds],
        }
        if task == SPEECH:
            row |= _of_speech(measured, audio_s)
        rows.append(row | ({"time_ratio": time_ratio(measured.seconds, against.seconds)} if against else {}))
    return rows


def _of_speech(measured: Measured, audio_s: Sequence[float]) -> dict[str, float]:
    """real_time_factor: seconds for a second of sound. encoder_ms: of a call; encoder_ms_per_window: of each that its encoder was given, whatever its length. decoder_ms_per_token: the rest of the call, features included, over its tokens."""
    factors = [spent / audio for spent, audio in zip(measured.seconds, audio_s, strict=False)]
    found = {"real_time_factor": _digits(float(np.median(factors)))}
    if measured.encoder_seconds:
        rest = [
            (whole - part) / max(count, 1) for whole, part, count in zip(measured.seconds, measured.encoder_seconds, measured.tokens, strict=True)
        ]
        each = np.array(measured.encoder_seconds) / np.maximum(measured.encoder_windows, 1)
        found |= {
            "encoder_ms": _digits(1e3 * float(np.median(measured.encoder_seconds))),
            "encoder_ms_per_window": _digits(1e3 * float(np.median(each))),
            "decoder_ms_per_token": _digits(1e3 * float(np.median(rest))),
        }
    return found


def failure_row(failure: Failure) -> dict[str, Any]:
    return asdict(failure)


def latencies(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds of a call; percentiles between two calls are interpolated."""
    found = np.percentile(1e3 * np.asarray(seconds), [50, 95, 99]).tolist()
    return {name: _digits(value) for name, value in zip(("median", "p95", "p99"), found, strict=True)}


def time_ratio(seconds: Sequence[float], baseline: Sequence[float]) -> dict[str, Any]:
    """How many times the baseline's time a call takes: above 1 the baseline is faster. Each round gives one ratio, over the same lines at nearly the
    same moment, so that a noisy machine slows both; the median of them and the quartiles."""
    low, median, high = np.percentile(np.asarray(seconds) / np.asarray(baseline), [25, 50, 75]).tolist()
    return {"median": _digits(median), "quartiles": [_digits(low), _digits(high)]}


def quality(measured: Measured, reference: Measured | None, lines: Sequence[Line], task: str = "translation") -> dict[str, Any]:
    """Against the targets, where every line has one, chrF and BLEU, or ROUGE for summarization; and chrF against the texts of the reference engine."""
    seen = sorted(measured.texts)
    texts = [measured.texts[line] for line in seen]
    found: dict[str, Any] = {"lines": len(seen)}
    if task == EMBEDDING:
        return found | (_cosines(measured, reference, seen) if reference is not None and reference.texts.keys() >= measured.texts.keys() else {})
    targets = [target for line in seen if (target := lines[line].target) is not None]
    if len(targets) == len(seen):
        scored = SCORES.get(task, partial(scores, task))(texts, targets)
        found |= {name.lower().replace("-", "_"): round(score, 2) for name, score in scored.items()}
    if reference is not None and reference.texts.keys() >= measured.texts.keys():
        others = [reference.texts[line] for line in seen]
        found["agreement_chrf"] = round(chrf(texts, others), 2)
        found["agreement_with"] = reference.contestant.name
        found["identical"] = sum(map(str.__eq__, texts, others))
    return found


def _cosines(measured: Measured, reference: Measured, seen: Sequence[int]) -> dict[str, Any]:
    """Of vectors to those of the reference engine: the mean, and of the one that is farthest."""
    ours, theirs = (np.array([one.texts[line] for line in seen], np.float64) for one in (measured, reference))
    found = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    return {"cosine": round(float(found.mean()), 6), "cosine_min": round(float(found.min()), 6), "agreement_with": reference.contestant.name}


def _digits(value: float) -> float:
    """Four significant digits: more would claim what no clock here knows."""
    return float(f"{value:.4g}")
