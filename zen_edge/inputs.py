"""Lines to try a model on, from a file or built in; arrays from a file."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from zen_edge.checked import quoted
from zen_edge.errors import InputError
from zen_edge.files import reason

T = TypeVar("T")


@dataclass(frozen=True)
class Line:
    """target: the text a person would expect, where one is given. pair: what the model reads with it, of tasks of two texts."""

    source: str
    target: str | None = None
    pair: str | None = None


@dataclass(frozen=True)
class Question:
    """answers: those that people gave, any of which is right; none where none is given, an empty one where there is none in the context."""

    question: str
    context: str
    answers: tuple[str, ...] = ()


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


def built_in(settings: Mapping[str, Any]) -> tuple[Line, ...]:
    """The lines to try a bundle on. settings: of its tokenizer, where a vocabulary that somebody declared brings lines of its own."""
    return tuple(map(Line, map(str, settings["examples"]))) if settings.get("examples") else BUILT_IN


def read_lines(path: Path, limit: int | None = None) -> tuple[Line, ...]:
    """The lines of a .txt file, or of a .jsonl file with "source" and, where there is one, "target"; blank ones are left out.

    limit: the first so many. InputError for anything else.
    """
    kind = path.suffix.lower()
    if kind not in (".txt", ".jsonl"):
        raise InputError(f"{quoted(path.name)} should be a .txt file (a line each) or a .jsonl file with source and target.")
    read = (_from_json(row, where) if kind == ".jsonl" else Line(row) for row, where in _rows(path))
    return _some((line for line in read if line.source.strip()), path, limit)


def read_questions(path: Path, limit: int | None = None) -> tuple[Question, ...]:
    """Those of a .jsonl file with "question", "context" and, where there are some, "answers". limit: the first so many. InputError for anything else."""
    if path.suffix.lower() != ".jsonl":
        raise InputError(f"{quoted(path.name)} should be a .jsonl file with question, context and answers.")
    return _some((question_from_json(row, where) for row, where in _rows(path)), path, limit)


def question_from_json(row: str, where: str) -> Question:
    """{"question", "context", "answers"}, the answers a list of texts, or as SQuAD has them ({"text": [...]}). InputError for anything else."""
    given = _object(row, where)
    question, context, answers = (given.get(key) for key in ("question", "context", "answers"))
    answers = answers.get("text") if isinstance(answers, dict) else answers
    texts = [] if answers is None else answers if isinstance(answers, list) else [answers]
    if not isinstance(question, str) or not isinstance(context, str) or not all(isinstance(text, str) for text in texts):
        raise InputError(f'{where} should be an object with a text "question", a text "context" and, if there are some, a list of texts "answers".')
    return Question(question, context, tuple(texts) or (("",) if answers is not None else ()))


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    """(row, where it stands) of those that are not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{quoted(str(path))} is not UTF-8 text: {error.reason} at byte {error.start}.") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise InputError(f"{quoted(str(path))} cannot be read: {reason(error) if isinstance(error, OSError) else error}.") from None
    return ((row, f"{quoted(path.name)}, line {number},") for number, row in enumerate(text.split("\n"), 1) if row.strip())


def _some(read: Iterator[T], path: Path, limit: int | None) -> tuple[T, ...]:
    found = tuple(islice(read, limit))
    if not found:
        raise InputError(f"{quoted(str(path))} holds no lines.")
    return found


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file by name. InputError for anything else."""
    if path.suffix.lower() != ".npz":
        raise InputError(f"{path.name!r} should be an .npz file: numpy.savez(path, x=array) writes one.")
    try:
        with np.load(path, allow_pickle=False) as held:
            return {name: held[name] for name in held.files}
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {reason(error)}.") from None
    except Exception as error:  # noqa: BLE001 - zip and numpy raise errors of many kinds for a damaged file
        raise InputError(f"{str(path)!r} holds no arrays that can be read ({type(error).__name__}).") from None


def _object(row: str, where: str) -> dict[str, Any]:
    try:
        given = json.loads(row)
    except (ValueError, RecursionError):
        raise InputError(f"{where} is not JSON.") from None
    return given if isinstance(given, dict) else {}


def _from_json(row: str, where: str) -> Line:
    given = _object(row, where)
    source, target = given.get("source"), given.get("target")
    if not isinstance(source, str) or not isinstance(target, str | None):
        raise InputError(f'{where} should be an object with a text "source" and, if there is one, a text "target".')
    return Line(source, target if target and target.strip() else None)
