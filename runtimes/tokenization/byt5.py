"""ByT5: the bytes of UTF-8, three numbers later. As transformers' ByT5Tokenizer; there is no file to read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zen_edge.runtimes.tokenization.byte_pieces import spelled
from zen_edge.runtimes.tokenization.python_backend import PythonTokenizer
from zen_edge.runtimes.tokenization.special_tokens import SpecialTokens


def load(folder: Path, settings: Mapping[str, Any]) -> PythonTokenizer:
    eos_id, special_tokens = int(settings["eos_token_id"]), SpecialTokens.from_settings(settings)

    def end_once(ids: Sequence[int], source_lang: str | None) -> list[int]:
        return special_tokens.around(ids if ids and ids[-1] == eos_id else [*ids, eos_id], source_lang)

    vocabulary = ByT5Vocabulary(settings)
    return PythonTokenizer(vocabulary, settings, end_once, lambda id, target: spelled(bytes([ord(vocabulary.token(id))])))


class ByT5Vocabulary:
    """A token is one character that stands for a byte."""

    size = 256

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._offset = int(settings["offset"])
        self._added = frozenset(str(token["content"]) for token in settings["added_tokens"])

    def tokenize(self, text: str) -> list[str]:
        return [chr(byte) for byte in text.encode()]

    def id(self, token: str) -> int:
        return ord(token) + self._offset

    def token(self, id: int) -> str:
        return chr(id - self._offset)

    def join(self, tokens: Sequence[str]) -> str:
        spelled = (token.encode() if token in self._added else bytes([ord(token)]) for token in tokens)
        return b"".join(spelled).decode("utf-8", "ignore")
