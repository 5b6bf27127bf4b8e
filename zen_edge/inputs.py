"""Lines to try a model on, from a file or built in."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zen_edge.checked import quoted
from zen_edge.errors import InputError


@dataclass(frozen=True)
class Line:
    """target: the text a person would expect, where one is given."""

    source: str
    target: str | None = None


# Short and long, with names, numbers, accents and punctuation; what they say matters little, that they differ in length does.
BUILT_IN = tuple(
    map(
        Line,
        (
            "library of tools for reading and writing text files",
            "Hello world",
            "simple game with cards for two players",
            "The new version 2.4 was released on the third of May, and it fixes most of the problems that users had reported so far.",
            "documentation",
            "graphical interface for the management of network connections, with support for many languages",
            "a small program (written in 1998) that shows the time in Zürich, São Paulo and Tokyo",
            "Does it work without a network?",
        ),
    )
)


def read_lines(path: Path, limit: int | None = None) -> tuple[Line, ...]:
    """Lines of a .txt file, or of a .jsonl file with "source" and, if every line has one, "target". InputError for anything else."""
    if path.suffix not in (".txt", ".jsonl"):
        raise InputError(f"{quoted(path.name)} should be a .txt file (a line each) or a .jsonl file with source and target.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{quoted(str(path))} is not UTF-8 text: {error.reason} at byte {error.start}.") from None
    except OSError as error:
        raise InputError(f"{quoted(str(path))} cannot be read: {error.strerror}.") from None
    rows = [row for row in text.split("\n") if row.strip()]
    lines = tuple(_from_json(rows[:limit], path)) if path.suffix == ".jsonl" else tuple(Line(row.rstrip("\r")) for row in rows[:limit])
    if not lines:
        raise InputError(f"{quoted(str(path))} holds no lines.")
    return lines


def _from_json(rows: list[str], path: Path) -> Iterator[Line]:
    for number, row in enumerate(rows, 1):
        try:
            given = json.loads(row)
        except ValueError:
            raise InputError(f"{quoted(path.name)}, line {number}, is not JSON.") from None
        if not isinstance(given, dict) or not isinstance(given.get("source"), str) or not isinstance(given.get("target", ""), str):
            raise InputError(f'{quoted(path.name)}, line {number}, should be an object with a text "source" and, if there is one, a text "target".')
        yield Line(given["source"], given.get("target"))
