"""Speech2Text: sentencepiece cuts the text, vocab.json numbers the pieces. As transformers' Speech2TextTokenizer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zen_edge.runtimes.tokenization.files import read_spm, read_vocab, unknown_id
from zen_edge.runtimes.tokenization.python_backend import PythonTokenizer


def load(folder: Path, settings: Mapping[str, Any]) -> PythonTokenizer:
    """Reads sentencepiece.bpe.model and vocab.json."""
    return PythonTokenizer(SpeechToTextVocabulary(folder, settings), settings)


class SpeechToTextVocabulary:
    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        vocab = read_vocab(folder / "vocab.json")
        self._pieces = read_spm(folder / "sentencepiece.bpe.model")
        self._unk_token = str(settings["unk_token"])
        self._unk_id = unknown_id(vocab, self._unk_token, folder / "vocab.json")
        self._ids = vocab
        self._tokens = {id: token for token, id in vocab.items()}
        self._special_tokens = frozenset(str(token) for token in settings["special_tokens"])
        self._upper = bool(settings["do_upper_case"])
        self.size = len(vocab)

    def tokenize(self, text: str) -> list[str]:
        return list(self._pieces.encode(text, out_type=str))

    def id(self, token: str) -> int:
        return self._ids.get(token, self._unk_id)

    def token(self, id: int) -> str:
        return self._tokens.get(id, self._unk_token)

    def join(self, tokens: Sequence[str]) -> str:
        text, run = "", list[str]()
        for token in tokens:
            if token in self._special_tokens:
                text += f"{self._decoded(run)}{token} "
                run = []
            else:
                run.append(token)
        return (text + self._decoded(run)).strip()

    def _decoded(self, pieces: list[str]) -> str:
        text = str(self._pieces.decode(pieces))
        return text.upper() if self._upper else text
