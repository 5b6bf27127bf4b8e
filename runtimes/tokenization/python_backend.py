"""What all tokenizers share that transformers runs in Python (its `PythonBackend`): added tokens are cut out, a vocabulary does the rest."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from zen_edge.errors import InputError
from zen_edge.runtimes.tokenization.added_tokens import AddedToken, AddedTokens
from zen_edge.runtimes.tokenization.special_tokens import SpecialTokens
from zen_edge.runtimes.tokenization.text import clean_up_spaces, require_unicode


class Vocabulary(Protocol):
    """What one kind adds."""

    size: int  # without added tokens

    def tokenize(self, text: str) -> list[str]:
        """Tokens of a text without added tokens in it."""

    def id(self, token: str) -> int: ...

    def token(self, id: int) -> str:
        """Raises IndexError or ValueError for an id that it cannot read."""

    def join(self, tokens: Sequence[str]) -> str:
        """The text of tokens, before its spaces are cleaned."""


class PythonTokenizer:
    """`around` puts the special ids around those of a text, given the source language; by default what the settings say. `piece` shows an id, of a
    target text or not; by default as its token."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        settings: Mapping[str, Any],
        around: Callable[[Sequence[int], str | None], list[int]] | None = None,
        piece: Callable[[int, bool], str] | None = None,
    ) -> None:
        added = [AddedToken.from_settings(token) for token in settings["added_tokens"]]
        split_all = bool(settings["split_special_tokens"])
        self._vocabulary = vocabulary
        self._split_all = split_all
        self._ids = {token.content: token.id for token in added}
        self._tokens = {token.id: token.content for token in added}
        # The trie also knows special tokens of the vocabulary itself, which need no id of their own.
        self._added = AddedTokens([*(AddedToken(str(content), -1) for content in settings["cut_tokens"]), *added])
        self._unsplit = frozenset(self._ids) | frozenset(str(token) for token in settings["special_tokens"])
        self._special_ids = frozenset(int(id) for id in settings["special_ids"])
        self._clean_up = bool(settings["clean_up_tokenization_spaces"])
        self._special_tokens = SpecialTokens.from_settings(settings)
        self._around = around or self._special_tokens.around
        self._piece = piece or (lambda id, target: vocabulary.token(id))
        self.pad_token_id = int(settings["pad_token_id"])
        self.max_length: int | None = settings["max_length"]
        self.vocab_size = vocabulary.size

    def encode(self, text: str, *, source_lang: str | None = None, target_lang: str | None = None) -> list[int]:
        self.forced_bos_token_id(target_lang)  # raises for a language it does not have
        return self._around(self.encode_target(text), source_lang)

    def encode_target(self, text: str) -> list[int]:
        require_unicode(text)
        tokens: list[str] = []
        for part in [text] if self._split_all else self._added.split(text):
            if part in self._unsplit and not self._split_all:
                tokens.append(part)
            else:
                tokens += self._vocabulary.tokenize(part)
        added, of = self._ids, self._vocabulary.id
        return [added[token] if token in added else of(token) for token in tokens]

    def decode(self, ids: Sequence[int]) -> str:
        added, of = self._tokens, self._vocabulary.token
        try:
            text = self._vocabulary.join([added[id] if id in added else of(int(id)) for id in ids if id not in self._special_ids])
        except (IndexError, ValueError) as error:
            raise InputError(f"among the token ids {min(ids)} to {max(ids)} is one that no vocabulary has: {error}.") from None
        return clean_up_spaces(text) if self._clean_up else text

    def pieces(self, ids: Sequence[int], *, target: bool = False) -> list[str]:
        return [self._tokens[id] if id in self._tokens else self._piece(int(id), target) for id in ids]

    def forced_bos_token_id(self, target_lang: str | None) -> int | None:
        return self._special_tokens.forced_bos_token_id(target_lang)
