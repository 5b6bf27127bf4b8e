"""The characters of wav2vec2 and its kin: a word for each output, and what stands between words and for silence."""

from pathlib import Path
from typing import Any

from zen_edge.errors import UnsupportedModelError
from zen_edge.exporters.tokenization.settings import write_json

CLASS = "Wav2Vec2CTCTokenizer"


def save(tokenizer: Any, folder: Path) -> dict[str, Any]:
    words = {id: token.content for id, token in tokenizer.added_tokens_decoder.items()} | tokenizer.decoder
    if not all(isinstance(id, int) for id in words):
        raise UnsupportedModelError(
            "the tokenizer has a vocabulary for each language and no target_lang that says which the weights are for: set it in tokenizer_config.json."
        )
    write_json({word: id for id, word in words.items()}, folder / "vocab.json")
    return {
        "kind": "wav2vec2_ctc",
        "pad_token": tokenizer.pad_token,
        "unk_token": tokenizer.unk_token,
        "word_delimiter_token": tokenizer.word_delimiter_token,
        "replace_word_delimiter_char": tokenizer.replace_word_delimiter_char,
        "do_lower_case": bool(tokenizer.do_lower_case),
        "clean_up_tokenization_spaces": bool(tokenizer.clean_up_tokenization_spaces),
    }
