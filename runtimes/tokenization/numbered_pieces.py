"""What M2M-100 and Speech2Text share: sentencepiece cuts the text, vocab.json numbers the pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zen_edge.runtimes.tokenization.files import read_spm, read_vocab, unknown_id


class NumberedPieces:
    """Of a folder with sentencepiece.bpe.model and vocab.json. more: tokens with ids that vocab.json does not name."""

    after_special = ""  # what follows a special token in a text

    def __init__(self, folder: Path, settings: Mapping[str, Any], more: Mapping[str, int] = {}) -> None:
        vocab = read_vocab(folder / "vocab.json")
        self._pieces = read_spm(folder / "sentencepiece.bpe.model")
        self._unk_token = str(settings["unk_token"])
        self._unk_id = unknown_id(vocab, self._unk_token, folder / "vocab.json")
        self._ids = {**vocab, **more}
        self._tokens = {id: token for token, id in vocab.items()} | {id: token for token, id in more.items()}
        self._special_tokens = frozenset(str(token) for token in settings["special_tokens"])
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
            if token in self._special_tokens:  # an unknown word, mostly: sentencepiece never sees it
                text += f"{self.decoded(run)}{token}{self.after_special}"
                run = []
            else:
                run.append(token)
        return (text + self.decoded(run)).strip()

    def decoded(self, pieces: list[str]) -> str:
        """The text of pieces between two special tokens."""
        return str(self._pieces.decode(pieces))
