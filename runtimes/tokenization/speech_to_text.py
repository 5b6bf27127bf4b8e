"""Speech2Text: sentencepiece cuts the text, vocab.json numbers the pieces. As transformers' Speech2TextTokenizer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zen_edge.runtimes.tokenization.numbered_pieces import NumberedPieces
from zen_edge.runtimes.tokenization.python_backend import PythonTokenizer


def load(folder: Path, settings: Mapping[str, Any]) -> PythonTokenizer:
    """Reads sentencepiece.bpe.model and vocab.json."""
    return PythonTokenizer(SpeechToTextVocabulary(folder, settings), settings)


class SpeechToTextVocabulary(NumberedPieces):
    after_special = " "

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        super().__init__(folder, settings)
        self._upper = bool(settings["do_upper_case"])

    def decoded(self, pieces: list[str]) -> str:
        text = super().decoded(pieces)
        return text.upper() if self._upper else text
