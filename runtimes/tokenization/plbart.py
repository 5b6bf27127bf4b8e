"""PLBart: sentencepiece pieces, one number later than sentencepiece has them, after fairseq's own words. As transformers' PLBartTokenizer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zen_edge.runtimes.tokenization.files import read_spm
from zen_edge.runtimes.tokenization.python_backend import PythonTokenizer


def load(folder: Path, settings: Mapping[str, Any]) -> PythonTokenizer:
    """Reads sentencepiece.bpe.model."""
    return PythonTokenizer(PLBartVocabulary(folder, settings), settings)


class PLBartVocabulary:
    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._pieces = read_spm(folder / "sentencepiece.bpe.model")
        self._ids = {str(token): int(id) for token, id in settings["fairseq_ids"].items()}
        self._tokens = {id: token for token, id in self._ids.items()}
        self._unk_id = int(settings["unk_token_id"])
        self.size = int(settings["vocab_size"])

    def tokenize(self, text: str) -> list[str]:
        return list(self._pieces.encode(text, out_type=str))

    def id(self, token: str) -> int:
        if token in self._ids:
            return self._ids[token]
        piece = int(self._pieces.piece_to_id(token))
        return piece + 1 if piece else self._unk_id

    def token(self, id: int) -> str:
        return self._tokens[id] if id in self._tokens else str(self._pieces.id_to_piece(id - 1))

    def join(self, tokens: Sequence[str]) -> str:
        return "".join(tokens).replace("▁", " ").strip()
