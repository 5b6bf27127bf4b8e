"""Blenderbot-90M: lower-cased words, cut by byte-pair merges whose parts end in `@@`. As transformers' BlenderbotSmallTokenizer."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from zen_edge.runtimes.tokenization.files import read_vocab, unknown_id
from zen_edge.runtimes.tokenization.merges import END, merged, read_merges
from zen_edge.runtimes.tokenization.python_backend import PythonTokenizer

# What Unicode calls white space, as the regex library reads \s; re's own also takes \x1c to \x1f.
_SPACES = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_WORDS = re.compile(rf"[^{_SPACES}]+\n?")


def load(folder: Path, settings: Mapping[str, Any]) -> PythonTokenizer:
    """Reads vocab.json and merges.json."""
    return PythonTokenizer(BlenderbotSmallVocabulary(folder, settings), settings)


class BlenderbotSmallVocabulary:
    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._ids = read_vocab(folder / "vocab.json")
        self._tokens = {id: token for token, id in self._ids.items()}
        self._unk_token = str(settings["unk_token"])
        self._unk_id = unknown_id(self._ids, self._unk_token, folder / "vocab.json")
        self._ranks = read_merges(folder / "merges.json")
        self._merged = lru_cache(maxsize=10_000)(self._merge)  # words come again; a bound, because pipelines are kept
        self.size = len(self._ids)

    def tokenize(self, text: str) -> list[str]:
        return [part for word in _WORDS.findall(text) for part in " ".join(map(self._merged, _subwords(word))).split(" ")]

    def id(self, token: str) -> int:
        return self._ids.get(token.lower(), self._unk_id)

    def token(self, id: int) -> str:
        return self._tokens.get(id, self._unk_token)

    def join(self, tokens: Sequence[str]) -> str:
        return " ".join(tokens).replace("@@ ", "").strip()

    def _merge(self, word: str) -> str:
        """Parts of a word, a space between them; all but the last end in `@@`."""
        if len(word) == 1:
            return word
        return "@@ ".join(merged(word, self._ranks)).removesuffix(END)


def _subwords(word: str) -> list[str]:
    """A word between spaces as words of its own: punctuation begins one, an apostrophe is one, a line's end is `__newln__`."""
    word = re.sub(r"([.,!?()])", r" \1", word)
    word = re.sub(r"(')", r" \1 ", word)
    word = re.sub(rf"[{_SPACES}]{{2,}}", " ", word)
    return [part.lower() for part in word.replace("\n", " __newln__").split(" ") if part]
