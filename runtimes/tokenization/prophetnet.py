"""ProphetNet: words and punctuation apart, then the longest known pieces (WordPiece), in Python's Unicode. As transformers' ProphetNetTokenizer."""

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zen_edge.runtimes.tokenization.files import read_vocab, unknown_id
from zen_edge.runtimes.tokenization.python_backend import PythonTokenizer

_LONGEST_WORD = 100  # characters; longer ones are unknown
_HAN = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))  # fmt: skip


def load(folder: Path, settings: Mapping[str, Any]) -> PythonTokenizer:
    """Reads vocab.json."""
    return PythonTokenizer(ProphetNetVocabulary(folder, settings), settings)


class ProphetNetVocabulary:
    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._ids = read_vocab(folder / "vocab.json")
        self._tokens = {id: token for token, id in self._ids.items()}
        self._unk_token = str(settings["unk_token"])
        self._unk_id = unknown_id(self._ids, self._unk_token, folder / "vocab.json")
        self._basic = bool(settings["do_basic_tokenize"])
        self._lower = bool(settings["do_lower_case"])
        self._han = bool(settings["tokenize_chinese_chars"])
        accents = settings["strip_accents"]  # None: as lower-casing goes
        self._strip_accents = self._lower if accents is None else bool(accents)
        self._never_split = frozenset(str(word) for word in settings["never_split"])
        self._whole = self._never_split | {str(token) for token in settings["special_tokens"]}
        self.size = len(self._ids)

    def tokenize(self, text: str) -> list[str]:
        words = self._words(text) if self._basic else text.split()
        return [piece for word in words for piece in ([word] if self._basic and word in self._never_split else self._cut(word))]

    def id(self, token: str) -> int:
        return self._ids.get(token, self._unk_id)

    def token(self, id: int) -> str:
        return self._tokens.get(id, self._unk_token)

    def join(self, tokens: Sequence[str]) -> str:
        return " ".join(tokens).replace(" ##", "").strip()

    def _words(self, text: str) -> list[str]:
        text = "".join(map(_cleaned, text))
        if self._han:
            text = "".join(f" {character} " if _is_han(character) else character for character in text)
        words: list[str] = []
        for word in unicodedata.normalize("NFC", text).split():
            if word not in self._whole:
                word = word.lower() if self._lower else word
                word = _without_accents(word) if self._strip_accents else word
            words.append(word if word in self._whole else "".join(f" {c} " if _is_punctuation(c) else c for c in word))
        return " ".join(words).split()

    def _cut(self, word: str) -> list[str]:
        if len(word) > _LONGEST_WORD:
            return [self._unk_token]
        pieces: list[str] = []
        start = 0
        while start < len(word):
            mark = "##" if start else ""
            end = next((end for end in range(len(word), start, -1) if mark + word[start:end] in self._ids), None)
            if end is None:
                return [self._unk_token]
            pieces.append(mark + word[start:end])
            start = end
        return pieces


def _cleaned(character: str) -> str:
    if character in "\t\n\r" or unicodedata.category(character) == "Zs":
        return " "
    return "" if character == "\ufffd" or unicodedata.category(character).startswith("C") else character


def _without_accents(word: str) -> str:
    return "".join(character for character in unicodedata.normalize("NFD", word) if unicodedata.category(character) != "Mn")


def _is_han(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _HAN)


def _is_punctuation(character: str) -> bool:
    """All of ASCII that is neither a letter nor a number counts."""
    return (character.isascii() and character.isprintable() and not character.isalnum() and character != " ") or unicodedata.category(
        character
    ).startswith("P")
