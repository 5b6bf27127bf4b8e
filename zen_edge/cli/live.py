"""`zen-edge run --stream`: sound from a pipe, its text line by line while it comes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import typer

from zen_edge.errors import OptionError

READ = 1 << 16  # bytes at a time, or what there is


def print_stream(pipeline: Any, rate: int, options: Mapping[str, Any], format: str) -> None:
    """Raw samples on stdin, one channel of 16 bits at `rate` Hz -> a line for each segment: txt, times (with those of the segments or words), or json."""
    from zen_edge.runtimes.speech.subtitles import FORMATS
    from zen_edge.runtimes.speech.transcript import Transcript

    if format not in ("txt", "times", "json"):
        raise OptionError(f"--stream writes text, times or JSON line by line, not {format}: leave --format out.")
    if sys.stdin is None or sys.stdin.isatty():
        raise typer.BadParameter(
            "--stream reads raw samples from stdin, as in: arecord -q -t raw -f S16_LE -r 16000 | zen-edge run BUNDLE --stream 16000."
        )
    for segment in pipeline.stream(_blocks(), sampling_rate=rate, **options):
        if format == "json":
            typer.echo(json.dumps(segment.to_json(), ensure_ascii=False))
        else:
            typer.echo(FORMATS[format](Transcript(segment.text, segment.tokens, segment.avg_logprob, segments=(segment,))), nl=False)


def _blocks() -> Iterator[np.ndarray[Any, np.dtype[np.int16]]]:
    left = b""
    while data := sys.stdin.buffer.read1(READ):  # type: ignore[union-attr] # a BufferedReader, whatever the annotation says
        data = left + data
        whole = len(data) // 2 * 2
        left = data[whole:]
        yield np.frombuffer(data[:whole], "<i2")
