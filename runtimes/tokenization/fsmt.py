"""FSMT (the WMT 2019 translators of fairseq): Moses cuts the text into words, byte-pair merges those. As transformers' FSMTTokenizer.

Moses is sacremoses, which the extra `moses` installs: rules for each language, with lists of its abbreviations.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from zen_edge.errors import MissingDependencyError
from zen_edge.runtimes.tokenization.files import read_vocab, unknown_id
from zen_edge.runtimes.tokenization.merges import END, merged, read_merges
from zen_edge.runtimes.tokenization.python_backend import PythonTokenizer

# Punctuation and digits of full width or of other scripts, as Moses' replace-unicode-punctuation has them.
_PLAIN = str.maketrans("，、”“∶：？《》）！（；」「～’━〈〉【】％０１２３４５６７８９", ',,""::?"")!(;""~\'-<>[]%0123456789') | {ord("…"): "..."}
_FULL_STOP = re.compile(r"[。．]\s*")


def load(folder: Path, settings: Mapping[str, Any]) -> PythonTokenizer:
    """Reads vocab.json, target_vocab.json and merges.json. Raises MissingDependencyError without sacremoses."""
    vocabulary = FSMTVocabulary(folder, settings)
    return PythonTokenizer(vocabulary, settings, piece=vocabulary.piece)


class FSMTVocabulary:
    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        try:
            import sacremoses
        except ImportError as error:
            raise MissingDependencyError('the tokenizer of an FSMT model needs sacremoses: pip install "zen-edge[moses]".') from error
        source, target = (str(language) for language in settings["moses"])
        self._normalizer, self._words = sacremoses.MosesPunctNormalizer(lang=source), sacremoses.MosesTokenizer(lang=source)
        self._joiner = sacremoses.MosesDetokenizer(lang=target)
        self._lower_case = bool(settings["lower_case"])
        self._ids = read_vocab(folder / "vocab.json")
        self._tokens = {id: token for token, id in read_vocab(folder / "target_vocab.json").items()}
        self._source_tokens = {id: token for token, id in self._ids.items()}
        self._unk_token = str(settings["unk_token"])
        self._unk_id = unknown_id(self._ids, self._unk_token, folder / "vocab.json")
        ranks = read_merges(folder / "merges.json")
        self._merged = lru_cache(maxsize=10_000)(lambda word: merged(word, ranks))  # words come again; a bound, because pipelines are kept
        self.size = len(self._ids)

    def tokenize(self, text: str) -> list[str]:
        text = _FULL_STOP.sub(". ", text.lower() if self._lower_case else text).translate(_PLAIN)
        text = self._normalizer.normalize(text)
        text = "".join(character for character in text if not unicodedata.category(character).startswith("C"))
        words = self._words.tokenize(text, aggressive_dash_splits=True, return_str=False, escape=True)
        return [part for word in words if word for part in self._merged(word)]

    def id(self, token: str) -> int:
        return self._ids.get(token, self._unk_id)

    def token(self, id: int) -> str:
        return self._tokens.get(id, self._unk_token)

    def piece(self, id: int, target: bool) -> str:
        return self.token(id) if target else self._source_tokens.get(id, self._unk_token)

    def join(self, tokens: Sequence[str]) -> str:
        words = "".join(token.replace(" ", "").replace(END, " ") for token in tokens).split()
        return str(self._joiner.detokenize(words))
