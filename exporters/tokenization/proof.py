"""The proof that the runtime's tokenizer and the one of transformers agree."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from zen_edge.errors import CheckFailedError, InputError
from zen_edge.exporters.tokenization.settings import languages_of, source_language


def prove_tokenizer(
    tokenizer: Any,
    encode: Callable[..., Sequence[int]],
    decode: Callable[[Sequence[int]], str],
    forced_bos_token_id: Callable[[str | None], int | None] | None = None,
    *,
    prefix: str = "",
) -> int:
    """Holds the runtime's functions against the transformers tokenizer they were saved from; returns the number of lines compared.

    Lines that have gone wrong elsewhere, the whole vocabulary as text and as ids, every language code. `prefix` is what it was saved with.
    Raises CheckFailedError with the first difference.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This sequence already has")  # ByT5, of lines that end in </s> on purpose
        return sum(1 for _ in _comparisons(tokenizer, encode, decode, forced_bos_token_id, prefix))


def prove_windows(tokenizer: Any, windows: Callable[..., Sequence[Any]]) -> int:
    """The same of pairs, a question and a context, in windows: ids, types, characters, words and parts of every token. windows: `(first, second, most=,
    stride=)` to `tokenizers.Encoding`s. Returns the number of pairs compared. Raises CheckFailedError with the first difference."""
    return sum(1 for _ in _window_comparisons(tokenizer, windows))


def _window_comparisons(tokenizer: Any, windows: Callable[..., Sequence[Any]]) -> Iterator[None]:
    special = tokenizer.num_special_tokens_to_add(pair=True)
    for number, line in enumerate(_pair_lines(tokenizer)):
        question = QUESTIONS[number % len(QUESTIONS)]
        asked = len(tokenizer(question, add_special_tokens=False)["input_ids"])
        room, stride = SIZES[number % len(SIZES)]
        most = asked + special + room
        theirs = tokenizer(
            question,
            line,
            truncation="only_second",
            max_length=most,
            stride=stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_token_type_ids=True,
        )
        ours = windows(question, line, most=most, stride=stride)
        given = (question, line, most, stride)
        _require_equal("ids of windows", given, [one.ids for one in ours], theirs["input_ids"])
        if "token_type_ids" in tokenizer.model_input_names:  # elsewhere they differ from window to window, and nobody reads them
            _require_equal("token types", given, [one.type_ids for one in ours], theirs["token_type_ids"])
        _require_equal("characters of tokens", given, [one.offsets for one in ours], theirs["offset_mapping"])
        for place, one in enumerate(ours):
            _require_equal("words of tokens", given, one.word_ids, theirs.word_ids(place))
            _require_equal("parts of tokens", given, one.sequence_ids, theirs.sequence_ids(place))
        yield


def _pair_lines(tokenizer: Any) -> Iterator[str]:
    for line in filter(None, HARD_LINES):  # transformers takes an empty one for none
        yield line
        yield f"{line} and then {line}, {line}"
    yield " ".join(line for line in HARD_LINES if len(line) < 100)
    for token in tokenizer.all_special_tokens:
        yield from (line.replace("{}", token) for line in ("{}", "a{}b and a {} b", "{}{} {}"))


def _comparisons(
    tokenizer: Any,
    encode: Callable[..., Sequence[int]],
    decode: Callable[[Sequence[int]], str],
    forced_bos_token_id: Callable[[str | None], int | None] | None,
    prefix: str,
) -> Iterator[None]:
    for line in _lines(tokenizer):
        ids = tokenizer(prefix + line, verbose=False)["input_ids"]
        _require_equal("ids", line, list(encode(line)), ids)
        _require_equal("text", ids, _text(decode, ids), _reference_text(tokenizer, ids))
        yield
    for ids in _id_sequences(tokenizer):
        _require_equal("text", ids, _text(decode, ids), _reference_text(tokenizer, ids))
        yield
    for code in languages_of(tokenizer):
        with source_language(tokenizer, code):
            for line in ("", "Hello world.", f"</s>{code} x", " two  spaces "):
                ids = tokenizer(prefix + line, verbose=False)["input_ids"]
                _require_equal(f"ids (source_lang={code!r})", line, list(encode(line, source_lang=code)), ids)
                yield
        if forced_bos_token_id is not None:
            _require_equal("forced_bos_token_id", code, forced_bos_token_id(code), _reference_forced_bos(tokenizer, code))
    for line in SURROGATES:
        try:
            encode(line)
        except InputError:
            yield
        else:
            raise CheckFailedError(f"tokenizer check: {line!r} holds a lone surrogate and should raise InputError; it was encoded.")


def _text(decode: Callable[[Sequence[int]], str], ids: list[int]) -> str | None:
    """None where the ids are refused: they lie outside of every vocabulary."""
    try:
        return decode(ids)
    except InputError:
        return None


def _reference_text(tokenizer: Any, ids: list[int]) -> str | None:
    try:
        return tokenizer.decode(ids, skip_special_tokens=True)
    except (IndexError, ValueError, OverflowError):  # the libraries' own words for an id beyond their end
        return None


def _reference_forced_bos(tokenizer: Any, code: str) -> int:
    """As transformers' own preparation of a translation has it, which sets languages on the way."""
    before = tokenizer.src_lang, tokenizer.tgt_lang
    try:
        return int(tokenizer._build_translation_inputs("x", src_lang=code, tgt_lang=code, return_tensors=None)["forced_bos_token_id"])
    finally:
        tokenizer.src_lang, tokenizer.tgt_lang = before


def _require_equal(what: str, given: Any, ours: Any, theirs: Any) -> None:
    if ours != theirs:
        raise CheckFailedError(
            f"tokenizer check: for {_short(given)} the bundle gives the {what} {_short(ours)}, transformers gives {_short(theirs)}. "
            "Nothing is wrong with the checkpoint: report it with this line."
        )


def _short(value: Any) -> str:
    text = ascii(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= 300 else f"{text[:300]}... ({len(text)} characters)"


def _lines(tokenizer: Any) -> Iterator[str]:
    yield from HARD_LINES
    for token in tokenizer.added_tokens_decoder.values():
        yield from (line.replace("{}", token.content) for line in ("{}", " {} ", "a{}b", "a {} b", "a  {}  b", "{}{}", "▁{}"))
    words = list(tokenizer.get_vocab())
    yield from (f"{word} Hello world." for word in words if word.startswith(">>") and word.endswith("<<"))
    for start in range(0, len(words), 40):
        yield "".join(words[start : start + 40]).replace("▁", " ")
        yield " ".join(words[start : start + 40])


def _id_sequences(tokenizer: Any) -> Iterator[list[int]]:
    ids, special = list(range(len(tokenizer))), list(tokenizer.all_special_ids)
    yield []
    yield from ([id] for id in special)
    for start in range(0, len(ids), 40):
        yield ids[start : start + 40]
        yield [*ids[start : start + 20], *special, *ids[start + 20 : start + 40], *special]
    yield from (ids[offset::97] for offset in range(0, 97, 8))  # neighbours from all over the vocabulary


HARD_LINES = (
    "", " ", "   ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\ufeff", "\u200b", "\0",
    "Hello world.", " leading", "trailing ", "  two  spaces  ", "tab\tand\nnewline\r\n", "no\u00a0break", "\ufeffmarked",
    "zero\u200bwidth\u2060joiner\u00adsoft",
    "Ça coûte 12 €, s'il vous plaît – « déjà vu » !", "e\u0301 o\u0308 n\u0303", "ﬁ ﬂ Ⅳ ½ ① ﷺ", "ĲSSEL straße İstanbul ŉ",
    "日本語の文章です。", "中文没有空格，句子很长。", "한국어 문장입니다.", "ｆｕｌｌｗｉｄｔｈ　ＡＢＣ", "مرحبا بالعالم", "שלום עולם",
    "नमस्ते दुनिया", "สวัสดีชาวโลก", "Привет, мир!",
    "👍", "👩‍👩‍👧‍👦 family", "🏳️‍🌈🇫🇷👋🏽", "a\ufe0fb", "\U0001f9ff\U000e0067\U0010ffff",
    "a\0b", "\x01\x02\x1b[31mred\x1b[0m\x7f", "\x85\u2028\u2029", "\ufffd \uffff \ufdd0", "\u202eright to left\u202c",
    "x" * 3000, "supercalifragilistic" * 40, "-" * 500, "ab " * 300, "https://example.org/a?b=c&d=%20#e", "/usr/lib/x86_64-linux-gnu/libc.so.6",
    "</s>", "<pad>", "<unk>", "<s>", "a</s>b", "a </s> b", " <pad>  <unk> ", "</s></s>", "<</s>>", "</s", "<unk", "<0x41>", "<pad>,</s>.",
    ">>fr<< x", ">>fr<<x", " >>fr<< x", ">> fr <<", ">>fr<<", ">><<", ">>", "<<", ">>fr", "x >>fr<< y", ">>fr<< >>de<< x",
    ">>fra<</s>", "</s>>>fr<< x",
    "▁", "▁▁", "▁a", "a▁b", " ▁ ", "⁇", " ⁇ ", "<unk>⁇", "isn ' t", "it 's . ok ?",
)  # fmt: skip

QUESTIONS = ("Who wrote it?", "x", "Où est-ce, «là» ?", "誰が書きましたか", "[SEP] </s> what?", "  كم  عمره ؟ ")
SIZES = ((7, 3), (1, 0), (12, 11), (30, 10), (1000, 128))  # tokens of context in a window, and how many of these two windows share

SURROGATES = ("\ud800", "a \udfff b", ">>\ud83d<< x", "\udc80 as read with surrogateescape")
