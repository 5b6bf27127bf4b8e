"""Marian (OPUS-MT): sentencepiece cuts the text, vocab.json numbers the pieces. Follows transformers 5's MarianTokenizer.

Three things of it surprise. With one vocabulary for both languages, generated text is put together by *source*.spm; only with
`separate_vocabs` by target.spm. A target text that is given is cut by target.spm all the same. And special and added tokens go by their ids in
the source vocabulary, in generated text too.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor

from zen_edge.errors import InputError, OptionError
from zen_edge.runtimes.tokenization.added_tokens import AddedToken, AddedTokens
from zen_edge.runtimes.tokenization.files import read_spm, read_vocab, unknown_id
from zen_edge.runtimes.tokenization.special_tokens import nearest_first
from zen_edge.runtimes.tokenization.text import clean_up_spaces, require_unicode, unnamed


def load(folder: Path, settings: Mapping[str, Any]) -> "MarianTokenizer":
    """Reads source.spm and vocab.json; target.spm where the target's pieces are others; with `separate_vocabs` also target_vocab.json."""
    return MarianTokenizer(folder, settings)


class MarianTokenizer:
    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        added = [AddedToken.from_settings(token) for token in settings["added_tokens"]]
        separate_vocabs = bool(settings["separate_vocabs"])
        special_tokens = [str(token) for token in settings["special_tokens"]]
        vocab = read_vocab(folder / "vocab.json")
        target_vocab = read_vocab(folder / "target_vocab.json") if separate_vocabs else vocab

        self._source = read_spm(folder / "source.spm")
        target = read_spm(folder / "target.spm") if separate_vocabs or (folder / "target.spm").exists() else self._source
        self._cut_target = target
        self._target = target if separate_vocabs else self._source
        self._added = AddedTokens([] if settings["split_special_tokens"] else added)
        self._unsplit = frozenset() if settings["split_special_tokens"] else frozenset(special_tokens) | self._added.tokens.keys()
        self._unk_token = str(settings["unk_token"])
        self._unk_id = unknown_id(vocab, self._unk_token, folder / "vocab.json")
        self._ids = vocab | {token.content: token.id for token in added}
        self._target_ids = target_vocab | {token.content: token.id for token in added}
        self._target_unk_id = target_vocab.get(self._unk_token, self._unk_id)
        self._pieces = {id: piece for piece, id in target_vocab.items()} | {token.id: token.content for token in added}
        self._source_pieces = {id: piece for piece, id in self._ids.items()} if separate_vocabs else self._pieces
        self._special_tokens = frozenset(special_tokens)
        self._special_ids = frozenset(self._ids.get(token, self._unk_id) for token in special_tokens)
        self._eos_id = int(settings["eos_token_id"])
        self._clean_up = bool(settings["clean_up_tokenization_spaces"])
        self._languages = {piece[2:-2]: piece for piece in self._ids if len(piece) > 4 and piece.startswith(">>") and piece.endswith("<<")}
        self.pad_token_id = int(settings["pad_token_id"])
        self.max_length: int | None = settings["max_length"]
        self.vocab_size = len(vocab)

    def encode(self, text: str, *, source_lang: str | None = None, target_lang: str | None = None) -> list[int]:
        require_unicode(text)
        if source_lang is not None:
            raise OptionError(f"source_lang={source_lang!r}: a Marian model finds the source language in the text itself; leave source_lang out.")
        if target_lang is not None:
            text = f"{self._language_token(target_lang)} {text}"
        return [*self._encode(text, self._source, self._ids, self._unk_id), self._eos_id]

    def encode_target(self, text: str) -> list[int]:
        require_unicode(text)
        return self._encode(text, self._cut_target, self._target_ids, self._target_unk_id)

    def _encode(self, text: str, pieces: SentencePieceProcessor, known: Mapping[str, int], unk_id: int) -> list[int]:
        ids: list[int] = []
        for part in self._added.split(text):
            if part in self._unsplit:
                ids.append(known.get(part, unk_id))
                continue
            end = part.find("<<") if part.startswith(">>") else -1
            if end >= 0:  # sentencepiece never sees the language token
                ids.append(known.get(part[: end + 2], unk_id))
                part = part[end + 2 :]
            lookup = known.get
            ids += [lookup(piece, unk_id) for piece in pieces.encode(part, out_type=str)]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        special, pieces = self._special_ids, self._pieces
        tokens = [pieces[id] if id in pieces else self._spare_piece(id) for id in ids if id not in special]
        if self._special_tokens.isdisjoint(tokens):
            text = self._target.decode(tokens)
        else:
            text = self._decode_around_special(tokens)
        text = text.replace("▁", " ").strip()
        return clean_up_spaces(text) if self._clean_up else text

    def pieces(self, ids: Sequence[int], *, target: bool = False) -> list[str]:
        pieces = self._pieces if target else self._source_pieces
        return [pieces.get(id) or unnamed(id) for id in ids]

    def forced_bos_token_id(self, target_lang: str | None) -> None:
        """The target language stands in the source text; nothing is forced. Raises OptionError."""
        if target_lang is not None:
            self._language_token(target_lang)

    def _decode_around_special(self, tokens: Sequence[str]) -> str:
        """A special token's text under an id that is not special (vocabularies that hold it twice): kept, and sentencepiece never sees it."""
        text, run = "", list[str]()
        for token in tokens:
            if token in self._special_tokens:
                text += f"{self._target.decode(run)}{token} "
                run = []
            else:
                run.append(token)
        return text + str(self._target.decode(run))

    def _spare_piece(self, id: int) -> str:
        """Ids outside the vocabulary are read as sentencepiece's own numbers, which seldom mean the same."""
        try:
            return self._target.id_to_piece(int(id)) or self._unk_token
        except IndexError:
            raise InputError(f"token id {id} is in no vocabulary: the ids of this tokenizer end at {max(self._pieces)}.") from None

    def _language_token(self, language: str) -> str:
        if language in self._languages:
            return self._languages[language]
        if not self._languages:
            raise OptionError(f"target_lang={language!r}: this model has one target language only; leave target_lang out.")
        raise OptionError(f"target_lang={language!r} is not a language of this model; it has {', '.join(nearest_first(language, self._languages))}.")
