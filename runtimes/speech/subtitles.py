"""Transcripts as files: plain text, SubRip (.srt), WebVTT (.vtt) and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from zen_edge.runtimes.speech.transcript import Transcript

Cue = tuple[float, float, str]


def cues(found: Transcript) -> Iterator[Cue]:
    """(start, end, text) of every segment that says something, or of every word where their times are known."""
    if found.words:
        yield from ((word.start, word.end, word.text.strip()) for word in found.words if word.text.strip())
    else:
        yield from ((segment.start, segment.end, " ".join(segment.text.split())) for segment in found.segments if segment.text.strip())


def srt(found: Transcript) -> str:
    return "\n".join(f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text}\n" for number, (start, end, text) in enumerate(cues(found), 1))


def vtt(found: Transcript) -> str:
    """Characters that WebVTT reads as markup are escaped."""
    rows = (f"{_clock(start, '.')} --> {_clock(end, '.')}\n{_escaped(text)}\n" for start, end, text in cues(found))
    return "\n".join(["WEBVTT\n", *rows])


def txt(found: Transcript) -> str:
    return " ".join(found.text.split()) + "\n"


def as_json(found: Transcript) -> str:
    return json.dumps(found.to_json(), ensure_ascii=False) + "\n"


def times(found: Transcript) -> str:
    """A line for each cue."""
    return "".join(f"[{start:.2f} - {end:.2f}] {text}\n" for start, end, text in cues(found))


FORMATS: dict[str, Callable[[Transcript], str]] = {"txt": txt, "srt": srt, "vtt": vtt, "json": as_json, "times": times}


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
