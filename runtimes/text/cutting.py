"""A sentence longer than the model, in parts: at clauses, else between words, else anywhere; never inside a character."""

import re
from collections.abc import Callable
from unicodedata import category

from zen_edge.errors import InputError

# Where each match ends a part may end. A comma between digits is no clause's.
_CLAUSE = re.compile(r"[,;:)\]—–،؛]+\s+|[，、；：）」』—…]+|\s[-–—]\s")
_WORD = re.compile(r"\s+")
_MARKS = 32  # marks on one character, beyond which it is none


def cut(text: str, tokens: Callable[[str], int], limit: int) -> list[int]:
    """Positions behind the parts of `text`, about equal in length and none longer than `limit` tokens; the last is its length.

    tokens: how many tokens a text has. InputError where the model takes not even one character. Takes time linear in the text.
    """
    ends: list[int] = []
    start, rest = 0, tokens(text)
    guess = max(1, len(text) * limit // max(1, rest))
    while rest > limit:
        longest = _fitting(text, start, tokens, limit, guess)
        if longest == len(text):
            break
        end = _best_end(text, start, longest, start + (len(text) - start) // -(-rest // limit))
        taken = tokens(text[start:end])
        if taken > limit:  # a word cut in two may have more tokens than whole
            end, taken = longest, limit
        guess, start = longest - start, end
        ends.append(end)
        rest -= taken
        if rest < 2 * limit:  # counted only now, because counting after every part would take time quadratic in the text
            rest = tokens(text[start:])
    return [*ends, len(text)]


def _fitting(text: str, start: int, tokens: Callable[[str], int], limit: int, guess: int) -> int:
    """The end of the longest part that fits, to within an eighth."""
    whole = len(text) - start
    fits, misses = 0, whole + 1
    size = min(guess, whole)
    while True:
        if tokens(text[start : start + size]) <= limit:
            fits = size
        else:
            misses = size
        if misses == 1:
            raise InputError(f"the model takes {limit} tokens, too few for a single character of the text.")
        if fits == whole or (fits and misses - fits <= max(1, fits // 8)):
            return start + fits
        size = size // 2 if not fits else min(2 * fits, whole) if misses > whole else (fits + misses) // 2


def _best_end(text: str, start: int, longest: int, aim: int) -> int:
    """The border nearest to `aim`, of the best kind that there is one of."""
    for kind, least in ((_CLAUSE, (start + aim) // 2), (_WORD, (start + aim) // 2), (_WORD, start + 1)):
        if ends := [end for match in kind.finditer(text, start, longest) if match.start() > start and (end := match.end()) >= least]:
            return min(ends, key=lambda end: abs(end - aim))
    end = min(longest, max(start + 1, aim))
    for back in range(min(_MARKS, end - start)):
        if category(text[end - back])[0] != "M" and "\u200d" not in (text[end - back], text[end - back - 1]):
            return end - back
    return end
