"""The two sides of a `Seq2Seq`'s words: texts to ids and back as declared, and what of it goes into the bundle."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tokenizers import Tokenizer

from zen_edge.checked import quoted
from zen_edge.errors import InputError, ModuleError
from zen_edge.exporters.seq2seq import Seq2Seq, Vocabulary

EXAMPLES, LONGEST = 8, 12  # made-up texts, and the most words in one


class Side(Protocol):
    """size: how many ids there are, None where nobody knows."""

    size: int | None

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def made_up_ids(self, rows: int, width: int) -> list[list[int]]: ...

    def made_up(self) -> list[str]:
        """Texts to try, of several lengths."""

    def save(self, folder: Path, name: str) -> dict[str, Any]:
        """Writes what the runtime reads; the settings that go into the manifest."""


def side_of(given: Vocabulary | str | Path | None, embedded: int | None, declared: Seq2Seq, name: str) -> Side:
    """embedded: rows of the encoder's embedding, which bound the ids where there is no vocabulary."""
    special = {declared.start_token, declared.end_token, declared.pad_token}
    if given is None:
        return Numbers(embedded, special)
    if isinstance(given, Vocabulary):
        most = embedded if embedded is not None else len(given.entries)
        if len(given.entries) > most:
            raise ModuleError(f"{name}: the source vocabulary has {len(given.entries)} entries, and the encoder's embedding has {most}.")
        return Entries(given, special)
    try:
        return Pieces(Path(given), special)
    except Exception as error:  # tokenizers raises nothing narrower
        raise ModuleError(f"{name}: {quoted(str(given))} cannot be read as a tokenizer.json: {error}") from error


def _rows(ids: Sequence[int], rows: int, width: int) -> list[list[int]]:
    draw = random.Random(0)
    return [[draw.choice(ids) for _ in range(width)] for _ in range(rows)]


def _lengths() -> list[int]:
    return [1 + (7 * i) % LONGEST for i in range(EXAMPLES)]


@dataclass
class Entries:
    """A declared vocabulary."""

    vocabulary: Vocabulary
    special: set[int]

    def __post_init__(self) -> None:
        self.size: int | None = len(self.vocabulary.entries)
        hidden = {id for id, entry in enumerate(self.vocabulary.entries) if entry in self.vocabulary.special or entry == self.vocabulary.unknown}
        self._hidden = self.special | {id for id, entry in enumerate(self.vocabulary.entries) if entry in self.vocabulary.special}
        self._plain = [id for id, entry in enumerate(self.vocabulary.entries) if id not in self.special | hidden and entry.strip()] or [0]

    def encode(self, text: str) -> list[int]:
        return self.vocabulary.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        between = " " if self.vocabulary.unit == "words" else ""
        return between.join(self.vocabulary.entries[id] for id in ids if id not in self._hidden)

    def made_up_ids(self, rows: int, width: int) -> list[list[int]]:
        return _rows(self._plain, rows, width)

    def made_up(self) -> list[str]:
        return [self.decode(row[:length]) for row, length in zip(_rows(self._plain, EXAMPLES, LONGEST), _lengths(), strict=True)]

    def save(self, folder: Path, name: str) -> dict[str, Any]:
        file = f"{name}-vocabulary.json"
        (folder / file).write_text(json.dumps(list(self.vocabulary.entries), ensure_ascii=False), encoding="utf-8")
        asked = self.vocabulary
        return {"unit": asked.unit, "file": file, "unknown": asked.unknown, "lowercase": asked.lowercase, "hidden": sorted(self._hidden)}


@dataclass
class Pieces:
    """A tokenizer.json."""

    path: Path
    special: set[int]

    def __post_init__(self) -> None:
        self._tokenizer = Tokenizer.from_file(str(self.path))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.size: int | None = None  # what is in the file may be fewer than the model has rows for
        added = set(self._tokenizer.get_added_tokens_decoder())
        self._plain = [id for id in range(self._tokenizer.get_vocab_size(with_added_tokens=False)) if id not in self.special | added] or [0]

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text).ids)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def made_up_ids(self, rows: int, width: int) -> list[list[int]]:
        return _rows(self._plain, rows, width)

    def made_up(self) -> list[str]:
        texts = [self.decode(row[:length]).strip() for row, length in zip(_rows(self._plain, EXAMPLES, LONGEST), _lengths(), strict=True)]
        return [text for text in texts if text] or ["a"]

    def save(self, folder: Path, name: str) -> dict[str, Any]:
        (folder / name).mkdir()
        self._tokenizer.save(str(folder / name / "tokenizer.json"))
        return {"unit": "tokenizer", "file": name}


@dataclass
class Numbers:
    """No vocabulary: ids themselves, in decimal where a text is asked for."""

    size: int | None
    special: set[int]

    def __post_init__(self) -> None:
        most = 3 if self.size is None else self.size
        self._plain = [id for id in range(most) if id not in self.special] or [0]

    def encode(self, text: str) -> list[int]:
        if not all(part.isdecimal() for part in text.split()):
            raise InputError(f"{quoted(text)} is no row of ids: there is no vocabulary, and ids are written as '5 8 3'.")
        return [int(part) for part in text.split()]

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(str(id) for id in ids if id not in self.special)

    def made_up_ids(self, rows: int, width: int) -> list[list[int]]:
        return _rows(self._plain, rows, width)

    def made_up(self) -> list[str]:
        return [self.decode(row[:length]) for row, length in zip(_rows(self._plain, EXAMPLES, LONGEST), _lengths(), strict=True)]

    def save(self, folder: Path, name: str) -> dict[str, Any]:
        return {"unit": "numbers", "size": self.size, "hidden": sorted(self.special)}
