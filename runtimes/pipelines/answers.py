"""Answers out of a context by the scores of where they begin and end: the search of transformers' question-answering pipeline (4.57), without the model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from zen_edge.runtimes.pipelines.scores import softmax

CONTEXT = 1  # which part of a pair the answers are in
EXCLUDED = np.float32(-10000)  # the score of a token that no answer begins or ends with


@dataclass(frozen=True)
class Answer:
    """text: `context[start:end]`, empty where the model says that there is no answer. score: the probability of its beginning times that of its end. Answers of the
    same words are one, the place is the first of theirs and the score the sum, so that overlapping windows can bring it above 1."""

    text: str
    score: float
    start: int
    end: int

    def to_json(self) -> dict[str, Any]:
        return {"text": self.text, "answer": self.text, "start": self.start, "end": self.end, "score": self.score}


@dataclass(frozen=True)
class Wanted:
    """top_k: the most answers. max_answer_len: the most tokens of one. handle_impossible_answer: "there is none" is an answer too. align_to_words: answers are
    whole words."""

    top_k: int = 1
    max_answer_len: int = 15
    handle_impossible_answer: bool = False
    align_to_words: bool = True

    @property
    def spans(self) -> int:
        """How many are looked at in a window: several can be the same words."""
        return 2 * self.top_k + 10 if self.align_to_words else self.top_k


class Window(NamedTuple):
    """A question and a part of its context, and the scores (T,) that an answer begins and ends with each token."""

    encoding: Encoding
    start_logits: NDArray[np.float32]
    end_logits: NDArray[np.float32]


def find_answers(context: str, windows: Iterable[Window], cls_token_id: int | None, wanted: Wanted) -> list[Answer]:
    """The best answers in all windows of a context, best first: at most `top_k`, and none where there is nothing but padding."""
    found: dict[str, Answer] = {}  # by their words in lower case
    no_answer = 1e6
    for window in windows:
        allowed = _allowed(window.encoding, cls_token_id)
        start, end = (_probabilities(logits, allowed) for logits in (window.start_logits, window.end_logits))
        no_answer = min(no_answer, float(start[0] * end[0]))
        start[0] = end[0] = 0
        for first, last, score in best_spans(start, end, wanted.spans, wanted.max_answer_len, allowed):
            begin, stop = _characters(window.encoding, first, last, wanted.align_to_words)
            text = context[begin:stop]
            same = found.get(text.lower())
            found[text.lower()] = Answer(text, score, begin, stop) if same is None else replace(same, score=same.score + score)
    answers = [*found.values(), *([Answer("", no_answer, 0, 0)] if wanted.handle_impossible_answer else [])]
    return sorted(answers, key=lambda answer: -answer.score)[: wanted.top_k]


def best_spans(
    start: NDArray[np.float32], end: NDArray[np.float32], count: int, longest: int, allowed: NDArray[np.bool_]
) -> list[tuple[int, int, float]]:
    """(first, last, probability) of the likeliest spans of 1 to `longest` tokens, best first; of equal ones that which begins first. start, end, allowed: (T,).

    Those that touch what is not allowed are left out after the `count` best were chosen, as transformers has it.
    """
    T, longest = len(start), min(longest, len(start))
    ends = np.lib.stride_tricks.sliding_window_view(np.pad(end, (0, longest - 1)), longest)  # (T,longest): of each start
    scores = (start[:, None] * ends).ravel()
    chosen = np.argpartition(-scores, count)[:count] if count < len(scores) else np.arange(len(scores))
    chosen = chosen[np.lexsort((chosen, -scores[chosen]))]
    spans = [(int(place) // longest, int(place) // longest + int(place) % longest, float(scores[place])) for place in chosen]
    return [(first, last, score) for first, last, score in spans if score > 0 and last < T and allowed[first] and allowed[last]]


def _allowed(encoding: Encoding, cls_token_id: int | None) -> NDArray[np.bool_]:
    """(T,): the context's tokens, and the one at the beginning that stands for "no answer"."""
    of_context = np.array([part == CONTEXT for part in encoding.sequence_ids])
    return of_context if cls_token_id is None else of_context | (np.array(encoding.ids) == cls_token_id)


def _probabilities(logits: NDArray[np.float32], allowed: NDArray[np.bool_]) -> NDArray[np.float32]:
    return softmax(np.where(allowed, logits, EXCLUDED))


def _characters(encoding: Encoding, first: int, last: int, align_to_words: bool) -> tuple[int, int]:
    """Where tokens, or the words that they are of, begin and end in the context."""
    if align_to_words:
        words = encoding.token_to_word(first), encoding.token_to_word(last)
        spans = [None if word is None else encoding.word_to_chars(word, CONTEXT) for word in words]
        if spans[0] is not None and spans[1] is not None:
            return int(spans[0][0]), int(spans[1][1])
    return int(encoding.offsets[first][0]), int(encoding.offsets[last][1])
