"""The units of a text that sentences do not cross: lines, or several lines where a paragraph was wrapped by hand.

    Usage:                                 -> a line
      * read a file which was              -> two lines and one unit, the marker left out
        given before
      * write it                           -> a line

A paragraph counts as wrapped if no word from the beginning of a line would have fitted on the line before it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from zen_edge.runtimes.text.scripts import touches_unspaced

# A heading, a quotation, a bullet or a number, and the space after it: not for a model to translate.
_MARKER = re.compile(r"(?:[-*+•‣◦–—#>|]+|\(?\d{1,3}[.)])[ \t]+")
_LEAST_WIDTH = 40  # nobody wraps text narrower than this, but lists are


@dataclass(frozen=True)
class _Line:
    start: int  # of what it says, behind indentation and marker
    end: int
    column: int  # what stands before it
    marked: bool
    text: str


def units(text: str) -> list[tuple[int, int]]:
    """(start, end) of each unit, in order, white space around it and list markers left out."""
    return [(block[0].start, block[-1].end) for block in _blocks(text)]


def _blocks(text: str) -> Iterator[list[_Line]]:
    run: list[_Line] = []
    for line in _lines(text):
        goes_on = run and line is not None and not line.marked and line.column == run[-1].column
        if run and not goes_on:
            yield from [run] if _is_wrapped(run) else [[one] for one in run]
            run = []
        if line is not None:
            run.append(line)
    if run:
        yield from [run] if _is_wrapped(run) else [[one] for one in run]


def _lines(text: str) -> Iterator[_Line | None]:
    """Each line, None for a blank one."""
    start = 0
    for whole in text.splitlines(keepends=True):
        body = whole.rstrip()
        first = len(body) - len(body.lstrip())
        marker = _MARKER.match(body, first)
        column = marker.end() if marker else first
        yield _Line(start + column, start + len(body), column, bool(marker), body[column:]) if body else None
        start += len(whole)


def _is_wrapped(lines: list[_Line]) -> bool:
    width = max(len(line.text) for line in lines)
    if len(lines) < 2 or width < _LEAST_WIDTH:
        return False
    if not all(_is_full(line.text, after.text, width) for line, after in pairwise(lines)):
        return False
    return len(lines) > 2 or lines[1].text[0].islower()  # any two lines look wrapped if the first is the longer one


def _is_full(line: str, after: str, width: int) -> bool:
    if touches_unspaced(line, after):
        return len(line) + 2 >= width  # a full stop may not begin a line
    return len(line) + 1 + len(after.split(maxsplit=1)[0]) > width
