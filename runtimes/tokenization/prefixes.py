"""Words before the text that tell a T5-style model what to do: "summarize: ", "translate English to French: "."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from zen_edge.errors import OptionError

if TYPE_CHECKING:
    from zen_edge.runtimes.tokenization import Tokenizer


class PrefixedTokenizer:
    """`prefix` stands before every text; where `prefixes` names several language pairs ("en_to_fr"), the languages asked for choose."""

    def __init__(self, tokenizer: "Tokenizer", prefix: str, prefixes: Mapping[str, str]) -> None:
        self._tokenizer, self._prefix, self._prefixes = tokenizer, prefix, dict(prefixes)
        self.pad_token_id = tokenizer.pad_token_id
        self.max_length = tokenizer.max_length
        self.vocab_size = tokenizer.vocab_size
        self.decode = tokenizer.decode
        self.pieces = tokenizer.pieces
        self.encode_target = tokenizer.encode_target

    def encode(self, text: str, *, source_lang: str | None = None, target_lang: str | None = None) -> list[int]:
        if not self._prefixes or (source_lang is None and target_lang is None):
            return self._tokenizer.encode(self._prefix + text, source_lang=source_lang, target_lang=target_lang)
        return self._tokenizer.encode(self._chosen(source_lang, target_lang) + text)

    def forced_bos_token_id(self, target_lang: str | None) -> int | None:
        return self._tokenizer.forced_bos_token_id(None if self._prefixes else target_lang)

    def _chosen(self, source_lang: str | None, target_lang: str | None) -> str:
        pairs = {tuple(pair.split("_to_", 1)): prefix for pair, prefix in self._prefixes.items()}
        fitting = [prefix for (source, target), prefix in pairs.items() if source_lang in (None, source) and target_lang in (None, target)]
        if len(fitting) != 1:
            asked = ", ".join(
                f"{name}={value!r}" for name, value in (("source_lang", source_lang), ("target_lang", target_lang)) if value is not None
            )
            problem = "fits several language pairs" if fitting else "is no language pair"
            known = "; ".join(f"source_lang={source!r}, target_lang={target!r}" for source, target in pairs)
            raise OptionError(f"{asked} {problem} of this model; it has {known}.")
        return fitting[0]


def with_prefixes(tokenizer: "Tokenizer", prefix: str, prefixes: Mapping[str, str]) -> "Tokenizer":
    return PrefixedTokenizer(tokenizer, prefix, prefixes) if prefix or prefixes else tokenizer
