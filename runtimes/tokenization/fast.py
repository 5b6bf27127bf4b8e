"""Every tokenizer that transformers runs through the `tokenizers` library (T5, BART, mBART, NLLB, Pegasus, Blenderbot, BERT ...).

`tokenizer.json` is the whole tokenizer, but for two things: language codes, which transformers sets from outside, and the cleaned spaces.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from zen_edge.errors import BundleError, InputError
from zen_edge.runtimes.tokenization.special_tokens import SpecialTokens
from zen_edge.runtimes.tokenization.text import clean_up_spaces, require_unicode


def load(folder: Path, settings: Mapping[str, Any]) -> "FastTokenizer":
    """Reads tokenizer.json."""
    return FastTokenizer(folder, settings)


class FastTokenizer:
    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._tokenizer = _read(folder / "tokenizer.json")
        self._tokenizer.encode_special_tokens = bool(settings["split_special_tokens"])
        self._special_tokens = SpecialTokens.from_settings(settings)
        self._has_languages = bool(self._special_tokens.languages)
        self._clean_up = bool(settings["clean_up_tokenization_spaces"])
        self.pad_token_id = int(settings["pad_token_id"])
        self.max_length: int | None = settings["max_length"]
        self.vocab_size = int(self._tokenizer.get_vocab_size(with_added_tokens=False))

    def encode(self, text: str, *, source_lang: str | None = None, target_lang: str | None = None) -> list[int]:
        require_unicode(text)
        self.forced_bos_token_id(target_lang)  # raises for a language it does not have
        if not self._has_languages and source_lang is None:
            return list(self._tokenizer.encode(text).ids)
        # The template in the file holds one language only, so with languages the prefix and the suffix come from the settings.
        return self._special_tokens.around(self._tokenizer.encode(text, add_special_tokens=False).ids, source_lang)

    def encode_target(self, text: str) -> list[int]:
        require_unicode(text)
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        try:
            text = str(self._tokenizer.decode([int(id) for id in ids], skip_special_tokens=True))  # ids beyond its end say nothing
        except OverflowError:
            raise InputError(f"token ids are numbers from 0 up; given were {min(ids)} to {max(ids)}.") from None
        return clean_up_spaces(text) if self._clean_up else text

    def forced_bos_token_id(self, target_lang: str | None) -> int | None:
        return self._special_tokens.forced_bos_token_id(target_lang)


def _read(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_buffer(path.read_bytes())
    except Exception as error:  # tokenizers raises nothing narrower
        raise BundleError(f"cannot read {path}: {error}") from error
