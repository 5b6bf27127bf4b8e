"""Lines to try a model on, from a file or built in."""

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from zen_edge.checked import quoted
from zen_edge.errors import InputError
from zen_edge.files import reason


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
    """The lines of a .txt file, or of a .jsonl file with "source" and, where there is one, "target"; blank ones are left out.

    limit: the first so many. InputError for anything else.
    """
    kind = path.suffix.lower()
    if kind not in (".txt", ".jsonl"):
        raise InputError(f"{quoted(path.name)} should be a .txt file (a line each) or a .jsonl file with source and target.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{quoted(str(path))} is not UTF-8 text: {error.reason} at byte {error.start}.") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise InputError(f"{quoted(str(path))} cannot be read: {reason(error) if isinstance(error, OSError) else error}.") from None
    numbered = ((number, row) for number, row in enumerate(text.split("\n"), 1) if row.strip())
    read = (_from_json(row, f"{quoted(path.name)}, line {number},") if kind == ".jsonl" else Line(row) for number, row in numbered)
    lines = tuple(islice((line for line in read if line.source.strip()), limit))
    if not lines:
        raise InputError(f"{quoted(str(path))} holds no lines.")
    return lines


def _from_json(row: str, where: str) -> Line:
    try:
        given = json.loads(row)
    except (ValueError, RecursionError):
        raise InputError(f"{where} is not JSON.") from None
    source, target = (given.get("source"), given.get("target")) if isinstance(given, dict) else (None, None)
    if not isinstance(source, str) or not isinstance(target, str | None):
        raise InputError(f'{where} should be an object with a text "source" and, if there is one, a text "target".')
    return Line(source, target if target and target.strip() else None)
