"""What a transcription gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite
from typing import Any


@dataclass(frozen=True)
class Word:
    """start, end: seconds from the beginning of the audio. probability: the mean of its tokens'. text: as it stands in the transcript, its spaces included."""

    text: str
    start: float
    end: float
    probability: float

    def moved(self, start: float, end: float) -> Word:
        return replace(self, start=_on_clock(self.start, start, end), end=_on_clock(self.end, start, end))

    def to_json(self) -> dict[str, Any]:
        return {"text": self.text, "start": self.start, "end": self.end, "probability": _finite(self.probability)}


@dataclass(frozen=True)
class Segment:
    """A stretch of speech. tokens: its own, those that tell times included. avg_logprob: of the window that it was heard in, as no_speech_prob and
    temperature are. words: with `words=True`."""

    start: float
    end: float
    text: str
    tokens: tuple[int, ...]
    avg_logprob: float
    no_speech_prob: float
    temperature: float = 0.0
    words: tuple[Word, ...] = ()

    def moved(self, start: float, end: float) -> Segment:
        """On the clock of a sound of which that in which it was heard is the part from `start` to `end`, in seconds."""
        words = tuple(word.moved(start, end) for word in self.words)
        return replace(self, start=_on_clock(self.start, start, end), end=_on_clock(self.end, start, end), words=words)

    def to_json(self) -> dict[str, Any]:
        return {
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "tokens": list(self.tokens),
            "avg_logprob": _finite(self.avg_logprob),
            "no_speech_prob": _finite(self.no_speech_prob),
            "temperature": self.temperature,
            **({"words": [word.to_json() for word in self.words]} if self.words else {}),
        }


@dataclass(frozen=True)
class Transcript:
    """tokens: the ids after the prompt, the end token included; text is what they say. score: the mean log-probability of the generated tokens; of a
    beam search transformers' `sequences_scores`. log_probs: of each token of `tokens`, with `token_log_probs=True`. language: its code, None where
    the model names none. segments: with `return_timestamps=True`, and where the audio is longer than a window."""

    text: str
    tokens: tuple[int, ...]
    score: float
    log_probs: tuple[float, ...] | None = None
    language: str | None = None
    segments: tuple[Segment, ...] = ()

    @property
    def words(self) -> tuple[Word, ...]:
        return tuple(word for segment in self.segments for word in segment.words)

    def to_json(self) -> dict[str, Any]:
        """JSON has no infinite numbers: what is not finite becomes null."""
        found: dict[str, Any] = {"text": self.text, "tokens": list(self.tokens), "score": _finite(self.score), "language": self.language}
        if self.log_probs is not None:
            found["log_probs"] = [_finite(each) for each in self.log_probs]
        if self.segments:
            found["segments"] = [segment.to_json() for segment in self.segments]
        return found


def _on_clock(seconds: float, start: float, end: float) -> float:
    return round(min(start + seconds, end), 2)


def _finite(number: float) -> float | None:
    return number if isfinite(number) else None
