"""The vocabularies that somebody declared for a model of their own: source and target each words, characters, a tokenizer.json, or ids themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from zen_edge.checked import quoted
from zen_edge.errors import BundleError, InputError, OptionError
from zen_edge.runtimes.tokenization.fast import FastTokenizer
from zen_edge.runtimes.tokenization.text import require_unicode, unnamed

FAST: dict[str, Any] = {"split_special_tokens": False, "clean_up_tokenization_spaces": False, "max_length": None}
FAST |= {"prefix_ids": (), "suffix_ids": (), "languages": {}, "source_lang": None, "target_lang": None}


class Side(Protocol):
    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def piece(self, id: int) -> str: ...


def load(folder: Path, settings: Mapping[str, Any]) -> Declared:
    """Reads the vocabularies that `settings` name."""
    source, target = (_side(folder, dict(settings[name])) for name in ("source", "target"))
    return Declared(int(settings["pad_token_id"]), source, target, tuple(map(int, settings["before"])), tuple(map(int, settings["after"])))


def _side(folder: Path, settings: Mapping[str, Any]) -> Side:
    unit = settings["unit"]
    if unit == "numbers":
        return Numbers(settings["size"], frozenset(settings["hidden"]))
    if unit == "tokenizer":
        return Pieces(FastTokenizer(folder / str(settings["file"]), FAST | {"pad_token_id": 0}))
    path = folder / str(settings["file"])
    try:
        entries = [str(entry) for entry in json.loads(path.read_bytes())]
    except (OSError, ValueError) as error:
        raise BundleError(f"cannot read the vocabulary {path}: {error}") from error
    return Entries(entries, unit == "words", settings["unknown"], bool(settings["lowercase"]), frozenset(settings["hidden"]))


@dataclass(frozen=True)
class Declared:
    """Safe to share between threads. before, after: ids around every source."""

    pad_token_id: int
    source: Side
    target: Side
    before: tuple[int, ...]
    after: tuple[int, ...]
    max_length: int | None = None

    @property
    def vocab_size(self) -> int:
        return len(getattr(self.source, "entries", ()))

    def encode(self, text: str, *, source_lang: str | None = None, target_lang: str | None = None) -> list[int]:
        require_unicode(text)
        for name, language in (("source_lang", source_lang), ("target_lang", target_lang)):
            if language is not None:
                raise OptionError(f"{name}={language!r}: this model has no language codes; leave {name} out.")
        return [*self.before, *self.source.encode(text), *self.after]

    def encode_target(self, text: str) -> list[int]:
        require_unicode(text)
        return self.target.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return self.target.decode(ids)

    def pieces(self, ids: Sequence[int], *, target: bool = False) -> list[str]:
        side = self.target if target else self.source
        return [side.piece(int(id)) for id in ids]

    def forced_bos_token_id(self, target_lang: str | None) -> int | None:
        if target_lang is not None:
            raise OptionError(f"target_lang={target_lang!r}: this model has no language codes; leave target_lang out.")
        return None


@dataclass(frozen=True)
class Entries:
    """Words between spaces, or characters. unknown: the entry for what is not among them. hidden: ids that are left out of texts."""

    entries: list[str]
    words: bool
    unknown: str | None
    lowercase: bool
    hidden: frozenset[int]
    ids: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", {entry: id for id, entry in enumerate(self.entries)})

    def encode(self, text: str) -> list[int]:
        text = text.lower() if self.lowercase else text
        parts: Sequence[str] = text.split() if self.words else text
        if self.unknown is None and (missing := next((part for part in parts if part not in self.ids), None)) is not None:
            kind = "word" if self.words else "character"
            raise InputError(f"the {kind} {quoted(missing)} is not in the vocabulary, which has no entry for unknown ones.")
        return [self.ids[part if part in self.ids else str(self.unknown)] for part in parts]

    def decode(self, ids: Sequence[int]) -> str:
        self._require(ids)
        return (" " if self.words else "").join(self.entries[id] for id in ids if id not in self.hidden)

    def piece(self, id: int) -> str:
        return (self.entries[id].replace(" ", "▁") or unnamed(id)) if 0 <= id < len(self.entries) else unnamed(id)

    def _require(self, ids: Sequence[int]) -> None:
        for id in ids:
            if not 0 <= id < len(self.entries):
                raise InputError(f"{id} is no id of the vocabulary, which has {len(self.entries)} entries.")


@dataclass(frozen=True)
class Pieces:
    """A tokenizer.json."""

    tokenizer: FastTokenizer

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(ids)

    def piece(self, id: int) -> str:
        return self.tokenizer.pieces([id])[0]


@dataclass(frozen=True)
class Numbers:
    """Ids themselves, in decimal."""

    size: int | None
    hidden: frozenset[int]

    def encode(self, text: str) -> list[int]:
        parts = text.split()
        if wrong := [part for part in parts if not (part.isascii() and part.isdecimal())]:
            raise InputError(f"{quoted(wrong[0])} is no id: this bundle has no vocabulary and takes rows of ids, such as '5 8 3'.")
        ids = [int(part) for part in parts]
        if self.size is not None and ids and max(ids) >= self.size:
            raise InputError(f"the id {max(ids)} is beyond the {self.size} that the encoder has, 0 to {self.size - 1}.")
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(str(int(id)) for id in ids if id not in self.hidden)

    def piece(self, id: int) -> str:
        return str(id)
