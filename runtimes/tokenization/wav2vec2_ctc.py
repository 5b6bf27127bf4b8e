"""Characters of wav2vec2 and its kin, as transformers' Wav2Vec2CTCTokenizer decodes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from zen_edge.runtimes.ctc.spans import Span, runs
from zen_edge.runtimes.tokenization.files import read_vocab
from zen_edge.runtimes.tokenization.text import clean_up_spaces


def load(folder: Path, settings: Mapping[str, Any]) -> Characters:
    """Reads vocab.json."""
    return Characters(read_vocab(folder / "vocab.json"), settings)


class Characters:
    def __init__(self, vocab: Mapping[str, int], settings: Mapping[str, Any]) -> None:
        self._words = {int(id): str(word) for word, id in vocab.items()}
        self._blank, self._unknown = str(settings["pad_token"]), str(settings["unk_token"])
        self._delimiter, self._space = settings["word_delimiter_token"], str(settings["replace_word_delimiter_char"])
        self._lower, self._clean_up = bool(settings["do_lower_case"]), bool(settings["clean_up_tokenization_spaces"])
        self.blank_id = int(vocab[self._blank])

    def told(self, ids: Iterable[int]) -> tuple[str, list[Span]]:
        found = runs([self._words.get(int(id), self._unknown) for id in ids], self._blank)
        spans = [Span(self._space if word == self._delimiter else word, start, end) for word, start, end in found]
        text = "".join(span.text for span in spans).strip()
        if self._lower:
            text = text.lower()
        return clean_up_spaces(text) if self._clean_up else text, self._joined(spans)

    def _joined(self, spans: list[Span]) -> list[Span]:
        """Words between spaces."""
        groups = ((space, list(members)) for space, members in groupby(spans, lambda span: span.text == self._space))
        return [Span("".join(span.text for span in word), word[0].start, word[-1].end) for space, word in groups if not space]
