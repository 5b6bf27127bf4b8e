"""What `zen-edge run` reads: arguments, whole files, or the lines of stdin. What cannot be read comes as its error, in its place."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import typer

from zen_edge.checked import quoted
from zen_edge.errors import InputError, ZenEdgeError
from zen_edge.files import reason
from zen_edge.inputs import question_from_json

Asked = dict[str, str]
"""{"question": ..., "context": ...}"""


def texts(inputs: Iterable[str] | None, files: Iterable[Path] | None) -> Iterator[str | ZenEdgeError]:
    """The arguments, then whole files; without either the lines of stdin."""
    if inputs or files:
        return chain(inputs or (), map(_read, files or ()))
    return _stdin("give texts as arguments, --file PATH, or lines on stdin.")


def paths(inputs: Iterable[str] | None, files: Iterable[Path] | None) -> Iterator[str | ZenEdgeError]:
    """Of recordings."""
    return (path if isinstance(path, ZenEdgeError) else path.strip() for path in texts([*(inputs or ()), *map(str, files or ())], None))


def questions(
    question: str | None, context: str | None, inputs: Iterable[str] | None, files: Iterable[Path] | None, pair: str | None = None
) -> Iterator[Asked | ZenEdgeError]:
    """One question about `context`, or about every text that is given; every text as a question about `pair`; without either, lines of JSON that hold both."""
    if pair is not None:
        if question is not None or context is not None:
            raise typer.BadParameter("--pair is the context of the questions that are given as inputs: leave out --question and --context.")
        return (each if isinstance(each, ZenEdgeError) else {"question": each, "context": pair} for each in texts(inputs, files))
    if question is None:
        if context is not None:
            raise typer.BadParameter("--context needs a --question about it.")
        rows = (
            chain(inputs or (), *map(_rows, files or ())) if inputs or files else _stdin("give --question and --context, or lines of JSON on stdin.")
        )
        return map(_from_json, rows)
    if context is None:
        return (each if isinstance(each, ZenEdgeError) else {"question": question, "context": each} for each in texts(inputs, files))
    if inputs or files:
        raise typer.BadParameter("--context is what the question is about: leave out other texts and --file.")
    return iter([{"question": question, "context": context}])


def _stdin(advice: str) -> Iterator[str | ZenEdgeError]:
    if sys.stdin is None or sys.stdin.isatty():
        raise typer.BadParameter(advice)
    return (_decoded(line.rstrip(b"\r\n"), "the line") for line in sys.stdin.buffer)


def _rows(path: Path) -> Iterator[str | ZenEdgeError]:
    text = _read(path)
    return iter([text]) if isinstance(text, ZenEdgeError) else (row for row in text.split("\n") if row.strip())


def _from_json(row: str | ZenEdgeError) -> Asked | ZenEdgeError:
    if isinstance(row, ZenEdgeError):
        return row
    try:
        asked = question_from_json(row, "the line")
    except InputError as error:
        return error
    return {"question": asked.question, "context": asked.context}


def _read(path: Path) -> str | ZenEdgeError:
    try:
        return _decoded(path.read_bytes(), str(path))
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        return InputError(f"{quoted(str(path))} cannot be read: {reason(error) if isinstance(error, OSError) else error}.")


def _decoded(data: bytes, name: str) -> str | ZenEdgeError:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return InputError(f"{name} is not UTF-8 text: {error.reason} at byte {error.start}.")
