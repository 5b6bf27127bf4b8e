"""A text in pieces that fit the model, and its answer put together from theirs.

What stands between two pieces (spaces, indentation, blank lines, list markers, lines without a letter) is no piece: it is kept as it is. So the pieces
of an answer that says what the text says are the text, character by character.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
        parts = [self.text[: self.spans[0][0]]]
        for (_, end), (start, _), answer, after in zip(self.spans, self.spans[1:], answers, answers[1:], strict=False):
            parts += [answer, self._between(end, start, answer, after)]
        return "".join((*parts, answers[-1], self.text[self.spans[-1][1] :]))

    def between(self, place: int, answer: str, after: str) -> str:
        """What stands between the answers of the pieces `place` and `place + 1`."""
        return self._between(self.spans[place][1], self.spans[place + 1][0], answer, after)

    def _between(self, end: int, start: int, answer: str, after: str) -> str:
        """The text there; only where one of two languages writes no space between sentences and the other one does, a space comes or goes."""
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
    spans = _sentences(text, fit, language)
    return Pieces(text, tuple(spans), tuple(_LINE_BREAK.sub(_space, text[start:end]) for start, end in spans))


def by_budget(text: str, fit: Fit, language: str | None = None) -> Pieces:
    """As many whole sentences at once as the model takes, of one or of several paragraphs, in pieces of about equal length. Raises as `by_sentence`."""
    spans: list[tuple[int, int]] = []
    counted = [(start, end, fit.tokens(text[start:end])) for start, end in _sentences(text, fit, language)]
    total = sum(count for *_, count in counted)
    aim = total / max(1, -(-total // fit.limit))
    held = 0.0
    for start, end, count in counted:
        # Counts of sentences add up to the piece's but for a few, so only what is near the limit is counted as a whole.
        if spans and held < aim and (held + 1.2 * count < 0.8 * fit.limit or fit.tokens(text[spans[-1][0] : end]) <= fit.limit):
            spans[-1] = (spans[-1][0], end)
            held += count
        else:
            spans.append((start, end))
            held = count
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
    for stop in cut(text[start:end], fit.tokens, fit.limit):
        part = text[at : start + stop]
        if any(map(str.isalpha, part)):
            left = at + len(part) - len(part.lstrip())
            spans.append((left, left + len(part.strip())))
        at = start + stop
    return spans


def _space(match: re.Match[str]) -> str:
    text = match.string
    return "" if touches_unspaced(text[match.start() - 1], text[match.end()]) else " "
