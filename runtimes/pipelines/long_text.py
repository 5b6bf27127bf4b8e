"""`overflow="split"`: which texts are longer than the model, their parts, and the answer made of the answers of these."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from zen_edge.errors import InputError
from zen_edge.runtimes.pipelines.hypothesis import Hypothesis, Segment, whole
from zen_edge.runtimes.text.documents import Treatment
from zen_edge.runtimes.text.pieces import Fit, Pieces

LIMIT = 512  # tokens, where neither the model nor its tokenizer has a limit: T5 was trained on as many
LANGUAGE = re.compile(r"\s*>>([^<>\s]+)<<\s*")  # before a text, how Marian models with several target languages are told which
SHORTER = 0.8  # of a text: what its summary must be to be worth summarizing again


@dataclass(frozen=True)
class LongText:
    """encode: a text to ids. limit: the most of them in one input. answer_limit: the most tokens of an answer. language: the text's, where it is
    known. is_target_language: whether the model has one of this name. results: how many an input is to have."""

    treatment: Treatment
    encode: Callable[[str], list[int]]
    limit: int
    answer_limit: int
    language: str | None
    is_target_language: Callable[[str], bool]
    results: int

    def pieces(self, text: str, has_prefix: bool) -> Pieces | None:
        """The parts of a text longer than the model; None for one that is one input, or none at all. Raises InputError where it cannot be split."""
        if not isinstance(text, str) or not text.strip() or self._fits(text):
            return None
        if self.results > 1:
            raise InputError("a text longer than the model is split, and its parts have one result each: leave num_return_sequences at 1.")
        if has_prefix:
            raise InputError("a text longer than the model is split, and decoder_prefix cannot tell which part it begins: leave it out.")
        start = LANGUAGE.match(text)
        head = start.group() if start and self.is_target_language(start[1]) else ""

        def tokens(part: str) -> int:
            return len(self.encode(head + part))

        fit = Fit(tokens, self.treatment.piece_limit(self.limit, self.answer_limit))
        pieces = self.treatment.divide(text[len(head) :], fit, self.language)
        return replace(pieces, sources=tuple(head + source for source in pieces.sources)) if head else pieces

    def merged(self, pieces: Pieces, answers: list[list[Hypothesis]], log_probs: bool, *, ended: bool) -> list[Hypothesis] | str:
        """The answer of a text whose parts have these, or a text to treat in its place, unless the call has ended."""
        best = [answer[0] for answer in answers]
        text = self.treatment.join(pieces, [one.text for one in best])
        if self.treatment.again and not ended and len(text) <= SHORTER * len(pieces.text) and not self._fits(text):
            return text
        segments = [Segment(pieces.text[start:end], one) for (start, end), one in zip(pieces.spans, best, strict=True)]
        return [whole(text, segments, log_probs)]

    def _fits(self, text: str) -> bool:
        return len(self.encode(text)) <= self.limit
