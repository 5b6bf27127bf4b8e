"""A transformers tokenizer as files and settings that the runtime reads without transformers, and the proof that both agree."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from shutil import copyfile
from typing import Any

from zen_edge.errors import CheckFailedError, InputError, UnsupportedModelError


def save_tokenizer(tokenizer: Any, folder: Path) -> dict[str, Any]:
    """Writes the tokenizer's files into `folder` and returns the settings for the manifest's "tokenizer".

    Raises UnsupportedModelError for a class that is not in `SAVERS`, or an option that the runtime does not honour.
    """
    name = type(tokenizer).__name__
    saver = SAVERS.get(name)
    if saver is None:
        raise UnsupportedModelError(
            f"the tokenizer is a {name}; supported so far: {', '.join(SAVERS)}. Add its saver to SAVERS in exporters/tokenization.py "
            "and its reader in runtimes/tokenization/."
        )
    folder.mkdir(parents=True, exist_ok=True)
    return saver(tokenizer, folder)


def prove_tokenizer(tokenizer: Any, encode: Callable[[str], Sequence[int]], decode: Callable[[Sequence[int]], str]) -> int:
    """Holds the runtime's `encode` and `decode` against the transformers tokenizer they were saved from; returns the number of lines compared.

    Lines that have gone wrong elsewhere, the whole vocabulary as text and as ids. Raises CheckFailedError with the first difference.
    """
    compared = 0
    for line in _lines(tokenizer):
        ids = tokenizer(line, verbose=False)["input_ids"]
        _require_equal("ids", line, list(encode(line)), ids)
        _require_equal("text", ids, _text(decode, ids), _reference_text(tokenizer, ids))
        compared += 1
    for ids in _id_sequences(tokenizer):
        _require_equal("text", ids, _text(decode, ids), _reference_text(tokenizer, ids))
        compared += 1
    for line in SURROGATES:
        try:
            encode(line)
        except InputError:
            compared += 1
        else:
            raise CheckFailedError(f"tokenizer check: {line!r} holds a lone surrogate and should raise InputError; it was encoded.")
    return compared


def _text(decode: Callable[[Sequence[int]], str], ids: list[int]) -> str | None:
    """None where the ids are refused: they lie outside of every vocabulary."""
    try:
        return decode(ids)
    except InputError:
        return None


def _reference_text(tokenizer: Any, ids: list[int]) -> str | None:
    try:
        return tokenizer.decode(ids, skip_special_tokens=True)
    except IndexError:  # sentencepiece's own word for an id beyond its end
        return None


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


def _save_marian(tokenizer: Any, folder: Path) -> dict[str, Any]:
    if tokenizer.sp_model_kwargs:
        raise UnsupportedModelError(
            f"the tokenizer sets sp_model_kwargs={tokenizer.sp_model_kwargs}; sentencepiece is run with its defaults here. Load it without them."
        )
    if tokenizer.eos_token is None or tokenizer.pad_token is None:
        raise UnsupportedModelError("the Marian tokenizer lacks an eos_token or a pad_token: set both in its tokenizer_config.json.")
    # With one vocabulary transformers encodes and decodes with the source model: target.spm is never read.
    names = ["source.spm", "target.spm"] if tokenizer.separate_vocabs else ["source.spm"]
    for name, file, model in zip(names, tokenizer.spm_files, (tokenizer.spm_source, tokenizer.spm_target), strict=False):
        if Path(file).is_file():
            copyfile(file, folder / name)
        else:
            (folder / name).write_bytes(model.serialized_model_proto())
    _write_vocab(tokenizer.encoder, folder / "vocab.json")
    if tokenizer.separate_vocabs:
        _write_vocab(tokenizer.target_encoder, folder / "target_vocab.json")
    return {
        "kind": "marian",
        "separate_vocabs": bool(tokenizer.separate_vocabs),
        "unk_token": tokenizer.unk_token,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "special_tokens": tokenizer.all_special_tokens,
        **_common_settings(tokenizer),
    }


def _common_settings(tokenizer: Any) -> dict[str, Any]:
    """What the base class of all transformers' Python tokenizers decides."""
    by_content = {token.content: id for id, token in tokenizer.added_tokens_decoder.items()}
    if lost := dict(tokenizer.get_added_vocab().items() - by_content.items()):
        raise UnsupportedModelError(
            f"the tokenizer's added tokens share ids: {lost} do not decode to themselves. Give each its own id in added_tokens_decoder "
            "(tokenizer_config.json), beyond the vocabulary."
        )
    return {
        "added_tokens": [
            {"id": id, "content": token.content, "lstrip": token.lstrip, "rstrip": token.rstrip, "single_word": token.single_word}
            for id, token in tokenizer.added_tokens_decoder.items()
        ],
        "split_special_tokens": bool(tokenizer.split_special_tokens),
        "clean_up_tokenization_spaces": bool(tokenizer.clean_up_tokenization_spaces),
        # transformers writes "no limit" as 1e30
        "max_length": int(tokenizer.model_max_length) if tokenizer.model_max_length < 1e9 else None,
    }


def _write_vocab(vocab: dict[str, int], path: Path) -> None:
    path.write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")


# One entry per tokenizer class of transformers: it writes files and returns settings, `kind` naming the runtime's file.
SAVERS: dict[str, Callable[[Any, Path], dict[str, Any]]] = {
    "MarianTokenizer": _save_marian,
}

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

SURROGATES = ("\ud800", "a \udfff b", ">>\ud83d<< x", "\udc80 as read with surrogateescape")
