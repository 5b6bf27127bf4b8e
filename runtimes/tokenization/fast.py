"""Every tokenizer that transformers runs through the `tokenizers` library (T5, BART, mBART, NLLB, Pegasus, Blenderbot, BERT ...).

`tokenizer.json` is the whole tokenizer, but for two things: language codes, which transformers sets from outside, and the cleaned spaces.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Encoding, Tokenizer

from zen_edge.errors import BundleError, InputError
from zen_edge.runtimes.tokenization.byte_pieces import readable
from zen_edge.runtimes.tokenization.special_tokens import SpecialTokens
from zen_edge.runtimes.tokenization.text import clean_up_spaces, require_unicode, unnamed

STRIDE = 128  # tokens that windows share, as in transformers


def load(folder: Path, settings: Mapping[str, Any]) -> "FastTokenizer":
    """Reads tokenizer.json."""
    return FastTokenizer(folder, settings)


class FastTokenizer:
    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._tokenizer = _read(folder / "tokenizer.json")
        self._tokenizer.encode_special_tokens = bool(settings["split_special_tokens"])
        # Run apart from the rest, and once: a byte-level one trims the offsets of its tokens each time it is run.
        self._template, self._tokenizer.post_processor = self._tokenizer.post_processor, None
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
            return list(self._around(self._tokenizer.encode(text)).ids)
        # The template in the file holds one language only, so with languages the prefix and the suffix come from the settings.
        return self._special_tokens.around(self._tokenizer.encode(text, add_special_tokens=False).ids, source_lang)

    def encoding(self, text: str | Sequence[str], pair: str | None = None, *, most: int | None = None) -> Encoding:
        """A text or its words, or a pair of texts, with all that is known of its tokens (ids, type ids, characters, of words those of each word, and words),
        special tokens included. An empty pair is none, as in transformers. most: cut `text` so that there are at most so many tokens; nothing is cut without it. Raises InputError for text that is no
        Unicode."""
        one, other = self._parts(text), self._parts(pair) if pair else None
        if most is not None:
            one.truncate(max(0, self._room(most, other)))
        return self._around(one, other)

    def windows(self, first: str, second: str, *, most: int, stride: int | None = None, first_most: int | None = None) -> list[Encoding]:
        """The pair in windows of at most `most` tokens, each with the whole of `first` and a part of `second` that begins with the last `stride` tokens of
        the part before it. stride: None for 128, less where windows are short. first_most: of a `first` with more tokens than that, only so many are asked.

        Raises InputError where `first` leaves no room, or only as much as the stride.
        """
        asked, text = self._parts(first), self._parts(second)
        if first_most is not None and len(asked) > first_most:
            asked = self._parts(first[: asked.offsets[first_most - 1][1]])
        room = self._room(most, asked)
        if room < 1:
            raise InputError(f"the question has {len(asked)} tokens and leaves no room for the context in {most}: ask a shorter one.")
        if len(text) > room:
            text.truncate(room, _overlap(stride, most, room))
        return [self._around(asked, part) for part in (text, *text.overflowing)]

    def parts(self, text: str | Sequence[str], *, most: int, stride: int) -> list[Encoding]:
        """A text, or its words, in parts of at most `most` tokens, special ones included, each beginning with the last `stride` tokens of the one before it."""
        whole = self._parts(text)
        whole.truncate(self.room(most), stride)
        return [self._around(part) for part in (whole, *whole.overflowing)]

    def room(self, most: int) -> int:
        """Tokens of one text in an input of `most`, beside special ones."""
        return self._room(most, None)

    @property
    def marks_word_pieces(self) -> bool:
        """Whether a token that goes on with a word says so, such as "##ing"."""
        return bool(getattr(self._tokenizer.model, "continuing_subword_prefix", None))

    def join(self, tokens: Sequence[str]) -> str:
        """The text of tokens."""
        return " ".join(tokens) if self._tokenizer.decoder is None else str(self._tokenizer.decoder.decode(list(tokens)))

    def first_token(self, word: str) -> list[int]:
        """The id of a word of the vocabulary, or of the first token of another; none of what is nothing."""
        id = self._tokenizer.token_to_id(word)
        return self.encode_target(word)[:1] if id is None else [int(id)]

    def _parts(self, text: str | Sequence[str]) -> Encoding:
        for each in [text] if isinstance(text, str) else text:
            require_unicode(each)
        return self._tokenizer.encode(text, is_pretokenized=not isinstance(text, str), add_special_tokens=False)

    def _room(self, most: int, other: Encoding | None) -> int:
        """Tokens of a text in an input of `most`, beside special ones and the text before or after it."""
        special = 0 if self._template is None else self._template.num_special_tokens_to_add(is_pair=other is not None)
        return most - special - (0 if other is None else len(other))

    def _around(self, encoding: Encoding, pair: Encoding | None = None) -> Encoding:
        """With special tokens."""
        whole: Encoding = self._tokenizer.post_process(encoding, pair) if self._template is None else self._template.process(encoding, pair)
        return whole

    def encode_target(self, text: str) -> list[int]:
        require_unicode(text)
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        return self._text(ids, skip_special_tokens=True)

    def decode_every(self, ids: Sequence[int]) -> str:
        """Like `decode`, special tokens included."""
        return self._text(ids, skip_special_tokens=False)

    def _text(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        try:
            text = str(self._tokenizer.decode([int(id) for id in ids], skip_special_tokens=skip_special_tokens))  # ids beyond its end say nothing
        except OverflowError:
            raise InputError(f"token ids are numbers from 0 up; given were {min(ids)} to {max(ids)}.") from None
        return clean_up_spaces(text) if self._clean_up else text

    def pieces(self, ids: Sequence[int], *, target: bool = False) -> list[str]:
        tokens = [self._tokenizer.id_to_token(int(id)) or unnamed(id) for id in ids]
        added = {token.content for token in self._tokenizer.get_added_tokens_decoder().values()}
        of_bytes = self._tokenizer.decoder is not None and self._tokenizer.decoder.decode(["Ġ"]) == " "
        return [token if token in added or not of_bytes else readable(token) for token in tokens]

    def forced_bos_token_id(self, target_lang: str | None) -> int | None:
        return self._special_tokens.forced_bos_token_id(target_lang)


def _overlap(stride: int | None, most: int, room: int) -> int:
    if stride is None:
        usual = min(STRIDE, most // 2)
        return usual if usual < room else room // 2
    if stride >= room:
        raise InputError(
            f"doc_stride={stride} is not less than the {room} tokens of context that one window holds beside the question: give a smaller one."
        )
    return stride


def _read(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_buffer(path.read_bytes())
    except Exception as error:  # tokenizers raises nothing narrower
        raise BundleError(f"cannot read {path}: {error}") from error
