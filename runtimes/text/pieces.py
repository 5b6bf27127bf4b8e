"""A text in pieces that fit the model, and its answer put together from theirs.

What stands between two pieces (spaces, indentation, blank lines, list markers, lines without a letter) is no piece: it is kept as it is. So the pieces
of an answer that says what the text says are the text, character by character.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from zen_edge.runtimes.text.cutting import cut
from zen_edge.runtimes.text.lines import units
from zen_edge.runtimes.text.scripts import touches_unspaced
from zen_edge.runtimes.text.sentences import sentence_ends

_LINE_BREAK = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")


@dataclass(frozen=True)
class Fit:
    """What the model takes. tokens: how many a text has. limit: the most of them."""

    tokens: Callable[[str], int]
    limit: int


@dataclass(frozen=True)
class Pieces:
    """spans: (start, end) of each piece in `text`, in order, apart or side by side. sources: what the model is given for each."""

    text: str
    spans: tuple[tuple[int, int], ...]
    sources: tuple[str, ...]

    def joined(self, answers: Sequence[str]) -> str:
        """The answers in the places of their pieces."""
        if not self.spans:
            return self.text
        parts = [self.text[: self.spans[0][0]], answers[0]]
        for place, (answer, after) in enumerate(pairwise(answers)):
            parts += [self.between(place, answer, after), after]
        return "".join((*parts, self.text[self.spans[-1][1] :]))

    def between(self, place: int, answer: str, after: str) -> str:
        """What stands between the answers of the pieces `place` and `place + 1`: what stands between these, only that a space comes or goes where
        one of the two languages writes none between sentences."""
        end, start = self.spans[place][1], self.spans[place + 1][0]
        gap = self.text[end:start]
        if gap not in ("", " ") or not answer or not after:
            return gap
        was, now = touches_unspaced(self.text[end - 1], self.text[start]), touches_unspaced(answer, after)
        return gap if was == now else "" if now else " "


def by_sentence(text: str, fit: Fit, language: str | None = None) -> Pieces:
    """Every sentence by itself: translators are trained on pairs of sentences, and leave some out when they are given several.

    A sentence longer than `fit.limit` is cut. A line break inside a sentence, where a paragraph was wrapped, is a space. Raises InputError where the model
    takes not even one character.
    """
    spans = _sentences(text, Fit(lambda part: fit.tokens(_unwrapped(part)), fit.limit), language)
    return Pieces(text, tuple(spans), tuple(_unwrapped(text[start:end]) for start, end in spans))


def by_budget(text: str, fit: Fit, language: str | None = None) -> Pieces:
    """As many whole sentences at once as the model takes, of one or of several paragraphs, in pieces of about equal length. Raises as `by_sentence`."""
    sentences = _sentences(text, fit, language)
    around = fit.tokens("")
    # Each with what stands before it. Counts add up to that of the whole, but for a few.
    counts = [fit.tokens(text[before:end]) - around for (_, before), (_, end) in pairwise([(0, 0), *sentences])]
    room = max(1, fit.limit - around)
    aim = sum(counts) / max(1, -(-sum(counts) // room))
    spans: list[tuple[int, int]] = []
    first = 0
    while first < len(sentences):
        start, last = sentences[first][0], first
        held = counts[first]
        while last + 1 < len(sentences) and held < aim and held + counts[last + 1] <= room:
            last += 1
            held += counts[last]
        while last > first and fit.tokens(text[start : sentences[last][1]]) > fit.limit:
            last -= 1
        spans.append((start, sentences[last][1]))
        first = last + 1
    return Pieces(text, tuple(spans), tuple(text[start:end] for start, end in spans))


def _sentences(text: str, fit: Fit, language: str | None) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for start, end in units(text):
        at = start
        for stop in sentence_ends(text[start:end], language):
            spans += _cut(text, at, start + stop, fit)
            at = start + stop
    return spans


def _cut(text: str, start: int, end: int, fit: Fit) -> list[tuple[int, int]]:
    """The parts of a sentence that have something to say, without the white space around them."""
    spans = []
    at = start
    for stop in cut(text[start:end], lambda part: fit.tokens(part.strip()), fit.limit):
        part = text[at : start + stop]
        if any(map(str.isalpha, part)):
            left = at + len(part) - len(part.lstrip())
            spans.append((left, left + len(part.strip())))
        at = start + stop
    return spans


def _unwrapped(text: str) -> str:
    return _LINE_BREAK.sub(_space, text)


def _space(match: re.Match[str]) -> str:
    text = match.string
    return "" if touches_unspaced(text[match.start() - 1], text[match.end()]) else " "
