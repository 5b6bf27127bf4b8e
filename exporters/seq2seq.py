"""What a factory returns so that an encoder and a decoder's step of one's own are exported as a translator: the modules, and the words around them.

    encoder(ids (B,T), mask (B,T))                 -> {"memory": (B,T,D), "state": (B,D), ...}        any tensors, by name
    step(token (R,), mask (R,T), memory, state)    -> {"scores": (R,V), "state": (R,D)[, "attention": (R,T)]}

What the step returns under a name that the encoder has is state: it goes on from word to word and with its beam. What else it takes of the encoder's is memory: it stays
as it is. A name may stand for a tuple, as the (h, c) of an LSTM does. R is the rows that are decoded side by side, the beams of each text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zen_edge.errors import InputError, OptionError

if TYPE_CHECKING:
    import torch

UNITS = ("words", "characters")


@dataclass(frozen=True)
class Vocabulary:
    """entries: by id. unit: what a text is cut into, "words" between spaces or "characters". unknown: the entry that stands for what is not among them; without
    one a text with such a word is refused. lowercase: before a text is cut. special: entries that are left out of what is shown, beside start, end and padding."""

    entries: Sequence[str]
    unit: str = "words"
    unknown: str | None = None
    lowercase: bool = False
    special: Sequence[str] = ()

    def __post_init__(self) -> None:
        entries = list(self.entries)
        if self.unit not in UNITS:
            raise OptionError(f"a vocabulary is of {' or '.join(UNITS)}, not {self.unit!r}.")
        if not entries or not all(isinstance(entry, str) for entry in entries):
            raise OptionError("the entries of a vocabulary are texts, in the order of their ids.")
        if twice := next((entry for entry in entries if entries.count(entry) > 1), None) if len(set(entries)) < len(entries) else None:
            raise OptionError(f"the vocabulary has the entry {twice!r} twice.")
        if missing := [entry for entry in ([] if self.unknown is None else [self.unknown]) + list(self.special) if entry not in entries]:
            raise OptionError(f"the vocabulary has no entry {missing[0]!r}, which is said to be its unknown or a special one.")

    def encode(self, text: str) -> list[int]:
        """InputError for a word that is not an entry, where there is no unknown."""
        ids = {entry: id for id, entry in enumerate(self.entries)}
        text = text.lower() if self.lowercase else text
        found = []
        for part in text.split() if self.unit == "words" else text:
            if part not in ids and self.unknown is None:
                raise InputError(f"{part!r} is not in the vocabulary, which has no unknown entry.")
            found.append(ids.get(part, ids.get(self.unknown or "", 0)))
        return found


@dataclass(frozen=True)
class Seq2Seq:
    """encoder, step: as drawn above; the first argument of each are ids, an argument `mask` is 1 for what is no padding, all others of the step have the names of what
    the encoder returns. source, target: what texts are made of, a Vocabulary or the path of a tokenizer.json; target is otherwise as source; without either the bundle
    takes ids and gives ids. before, after: ids around each source, such as an end token. examples: texts to compare on, otherwise made up of the vocabulary.
    max_new_tokens, num_beams, length_penalty: how it decodes where nothing else is asked for."""

    encoder: torch.nn.Module
    step: torch.nn.Module
    start_token: int
    end_token: int
    pad_token: int = 0
    source: Vocabulary | str | Path | None = None
    target: Vocabulary | str | Path | None = None
    before: Sequence[int] = ()
    after: Sequence[int] = ()
    examples: Sequence[str] = ()
    max_new_tokens: int = 64
    num_beams: int = 1
    length_penalty: float = 1.0
