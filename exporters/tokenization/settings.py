"""What several kinds of tokenizer store alike."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from re import fullmatch
from shutil import copyfile
from typing import Any

from zen_edge.errors import UnsupportedModelError


def text_settings(tokenizer: Any) -> dict[str, Any]:
    return {
        "pad_token_id": tokenizer.pad_token_id,
        "split_special_tokens": bool(tokenizer.split_special_tokens),
        "clean_up_tokenization_spaces": bool(tokenizer.clean_up_tokenization_spaces),
        # transformers writes "no limit" as 1e30
        "max_length": int(tokenizer.model_max_length) if tokenizer.model_max_length < 1e9 else None,
    }


def added_token_settings(tokenizer: Any) -> dict[str, Any]:
    """The tokens that transformers' Python tokenizers cut out of a text."""
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
        "special_tokens": tokenizer.all_special_tokens,
    }


def python_settings(tokenizer: Any) -> dict[str, Any]:
    """Everything that the runtime's python_backend.py reads but the ids around a text."""
    if getattr(tokenizer, "sp_model_kwargs", None):
        raise UnsupportedModelError(
            f"the tokenizer sets sp_model_kwargs={tokenizer.sp_model_kwargs}; sentencepiece is run with its defaults here. Load it without them."
        )
    added = {token.content for token in tokenizer.added_tokens_decoder.values()}
    return {
        **text_settings(tokenizer),
        **added_token_settings(tokenizer),
        "special_ids": tokenizer.all_special_ids,
        "cut_tokens": sorted(tokenizer.tokens_trie._tokens - added),
    }


def no_language_settings(prefix_ids: tuple[int, ...] = (), suffix_ids: tuple[int, ...] = ()) -> dict[str, Any]:
    return {"languages": {}, "source_lang": None, "target_lang": None, "prefix_ids": list(prefix_ids), "suffix_ids": list(suffix_ids)}


def language_settings(tokenizer: Any) -> dict[str, Any]:
    """Language codes and the ids around a text, None standing for the source language's; empty where the tokenizer has none."""
    languages = languages_of(tokenizer)
    if not languages:
        return no_language_settings()
    code, id = next(iter(languages.items()))
    with source_language(tokenizer, code):
        prefix, suffix = ([None if token == id else token for token in side] for side in (tokenizer.prefix_tokens, tokenizer.suffix_tokens))
    source, target = (_plain(languages, code) for code in (tokenizer.src_lang, getattr(tokenizer, "tgt_lang", None)))
    return {"languages": languages, "source_lang": source, "target_lang": target, "prefix_ids": prefix, "suffix_ids": suffix}


def languages_of(tokenizer: Any) -> dict[str, int]:
    """Code to id, by the codes that `src_lang` takes: those the class lists, and special tokens that look like one (`fra_Latn`)."""
    if not hasattr(tokenizer, "set_src_lang_special_tokens"):
        return {}
    listed = getattr(tokenizer, "lang_code_to_id", {})
    special = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    codes = [*listed, *(token for token in special if fullmatch(r"[a-z]{2,3}_[A-Za-z]{2,4}", token))]
    ids = {code.strip("_"): listed.get(code, tokenizer.convert_tokens_to_ids(code)) for code in codes}
    return {code: id for code, id in ids.items() if id is not None and id != tokenizer.unk_token_id}


@contextmanager
def source_language(tokenizer: Any, code: str) -> Iterator[None]:
    before = tokenizer.src_lang
    tokenizer.src_lang = code
    try:
        yield
    finally:
        tokenizer.src_lang = before


def write_json(content: Any, path: Path) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def write_spm(model: Any, source: Any, path: Path) -> None:
    """The file itself, or the model as it lies in memory where the file has gone."""
    if Path(source).is_file():
        copyfile(source, path)
    else:
        path.write_bytes(model.serialized_model_proto())


def _plain(languages: dict[str, int], code: str | None) -> str | None:
    plain = None if code is None else code.strip("_")  # PLBart keeps "__java__" where it was given "java"
    return plain if plain in languages else None
