"""Word pieces for every frame, as transformers' ParakeetTokenizer and LasrTokenizer decode them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from zen_edge.runtimes.ctc.spans import Span, runs
from zen_edge.runtimes.tokenization.fast import FastTokenizer
from zen_edge.runtimes.tokenization.text import clean_up_spaces

BEGIN = "▁"  # of a word


def load(folder: Path, settings: Mapping[str, Any]) -> FramePieces:
    """Reads tokenizer.json."""
    return FramePieces(folder, settings)


class FramePieces(FastTokenizer):
    @property
    def blank_id(self) -> int:
        return self.pad_token_id

    def told(self, ids: Iterable[int]) -> tuple[str, list[Span]]:
        words: list[list[tuple[int, int, int]]] = []
        found = runs([int(id) for id in ids], self.blank_id)
        for run in found:
            if not words or str(self._tokenizer.id_to_token(run[0])).startswith(BEGIN):
                words.append([])
            words[-1].append(run)
        spans = [Span(self._said([id for id, _, _ in word]).strip(), word[0][1], word[-1][2]) for word in words]
        return self._said([id for id, _, _ in found]), spans

    def _said(self, ids: list[int]) -> str:
        text = str(self._tokenizer.decode(ids, skip_special_tokens=False))
        return clean_up_spaces(text) if self._clean_up else text
