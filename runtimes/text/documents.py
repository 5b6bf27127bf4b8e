"""Texts longer than the model, answered by pieces: all pieces of all texts together, so that they fill sorted batches."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from zen_edge.errors import InputError
from zen_edge.runtimes.text.pieces import Fit, Pieces, by_budget, by_sentence

A = TypeVar("A")

LEAST_PIECE = 32  # tokens; shorter ones are no sentences, whatever the output's limit


@dataclass(frozen=True)
class Treatment:
    """What a task does with a text longer than the model.

    divide: the text's pieces. join: the text of their answers. answer_tokens: how many an answer has for each token of its piece. again: an answer that is
    itself longer than the model is treated once more.
    """

    divide: Callable[[str, Fit, str | None], Pieces]
    join: Callable[[Pieces, Sequence[str]], str]
    answer_tokens: float
    again: bool

    def piece_limit(self, source_limit: int, answer_limit: int) -> int:
        """Most tokens of a piece, so that the model takes it and its answer ends before the length limit ends it."""
        room = int(answer_limit / self.answer_tokens) if self.answer_tokens else source_limit
        return min(source_limit, max(LEAST_PIECE, room))


def _lines(pieces: Pieces, answers: Sequence[str]) -> str:
    return "\n".join(answer for answer in answers if answer.strip())


TRANSLATE = Treatment(by_sentence, Pieces.joined, answer_tokens=1.5, again=False)
SUMMARIZE = Treatment(by_budget, _lines, answer_tokens=0, again=True)


def answer_all(
    texts: Iterable[tuple[int, str]],
    divide: Callable[[int, str], Pieces | None],
    ask: Callable[[list[tuple[int, str]]], Iterator[tuple[int, A | InputError]]],
    merge: Callable[[Pieces, list[A]], A | str],
) -> Iterator[tuple[int, A | InputError]]:
    """(number, answer) of every numbered text, in any order.

    divide: its pieces, or None where it is one input. ask: the answers of many inputs, each given with the number of its text, by place and in any order. merge: the answer of the whole
    text, or a text to treat in its place. An input that cannot be answered leaves its text without an answer: its error is given.
    """
    pending = dict(texts)
    while pending:
        parts: list[tuple[int, str]] = []
        divided: dict[int, Pieces] = {}
        for number, text in pending.items():
            try:
                pieces = divide(number, text)
            except InputError as error:
                yield number, error
                continue
            if pieces is not None:
                divided[number] = pieces
            parts += [(number, source) for source in ([text] if pieces is None else pieces.sources)]
        found: dict[int, dict[int, A]] = {number: {} for number in divided}
        failed: dict[int, InputError] = {}
        for place, answer in ask(parts):
            number = parts[place][0]
            if number not in divided:
                yield number, answer
            elif isinstance(answer, InputError):
                failed[number] = answer
            else:
                found[number][place] = answer
        pending = {}
        for number, pieces in divided.items():
            if number in failed:
                yield number, failed[number]
                continue
            merged = merge(pieces, _in_order(found[number]))
            if isinstance(merged, str):
                pending[number] = merged
            else:
                yield number, merged


def _in_order(answers: Mapping[int, A]) -> list[A]:
    return [answers[place] for place in sorted(answers)]
