"""The likeliest choice of every frame, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zen_edge.runtimes.ctc.spans import FrameTokenizer, Span, runs
from zen_edge.runtimes.speech.transcript import Segment, Transcript, Word

Seconds = Callable[[int], float]  # of frames
PAUSE = 1.0  # seconds without a word that end a segment
LONGEST = 20.0  # seconds of one segment


@dataclass(frozen=True)
class Path:
    """ids, log_probs: of every frame."""

    ids: NDArray[np.int64]
    log_probs: NDArray[np.float32]

    @classmethod
    def of(cls, logits: NDArray[np.float32]) -> Path:
        """logits (T,V)."""
        best = logits.argmax(axis=-1)
        most = np.take_along_axis(logits, best[:, None], axis=-1)
        return cls(best, -np.log(np.exp(logits - most).sum(axis=-1)))


def joined(paths: Sequence[Path]) -> Path:
    return Path(np.concatenate([path.ids for path in paths]), np.concatenate([path.log_probs for path in paths]))


def transcript(path: Path, tokenizer: FrameTokenizer, step: int, rate: int, *, segments: bool, words: bool, log_probs: bool) -> Transcript:
    """step: samples of a frame, of `rate` a second. A token's log-probability is the mean of its frames', the score the mean of its tokens'."""
    text, spans = tokenizer.told(path.ids.tolist())
    found = runs(path.ids.tolist(), tokenizer.blank_id)
    each = tuple(float(path.log_probs[start:end].mean()) for _, start, end in found)
    score = float(np.mean(each)) if each else 0.0

    def seconds(frame: int) -> float:
        return frame * step / rate

    groups = _grouped(spans, seconds) if segments else []
    told = tuple(_segment(group, found, each, seconds, words) for group in groups)
    return Transcript(text, tuple(int(token) for token, _, _ in found), score, each if log_probs else None, None, told)


def _grouped(spans: Sequence[Span], seconds: Seconds) -> list[list[Span]]:
    groups: list[list[Span]] = []
    for span in spans:
        pause = groups and seconds(span.start - groups[-1][-1].end) >= PAUSE
        if not groups or pause or seconds(span.end - groups[-1][0].start) > LONGEST:
            groups.append([])
        groups[-1].append(span)
    return groups


def _segment(group: Sequence[Span], found: Sequence[tuple[int, int, int]], each: Sequence[float], seconds: Seconds, words: bool) -> Segment:
    start, end = group[0].start, group[-1].end
    inside = [i for i, (_, first, last) in enumerate(found) if first >= start and last <= end]
    told = tuple(Word(span.text, seconds(span.start), seconds(span.end), _probability(span, found, each)) for span in group) if words else ()
    text = " ".join(span.text for span in group)
    mean = float(np.mean([each[i] for i in inside]))
    return Segment(seconds(start), seconds(end), text, tuple(int(found[i][0]) for i in inside), mean, float("nan"), 0.0, told)


def _probability(span: Span, found: Sequence[tuple[int, int, int]], each: Sequence[float]) -> float:
    return float(np.mean([np.exp(one) for one, (_, start, end) in zip(each, found, strict=True) if start >= span.start and end <= span.end]))
