"""Marian (OPUS-MT): sentencepiece models and vocab.json."""

from pathlib import Path
from typing import Any

from zen_edge.errors import UnsupportedModelError
from zen_edge.exporters.tokenization.settings import added_token_settings, text_settings, write_json, write_spm

CLASS = "MarianTokenizer"


def save(tokenizer: Any, folder: Path) -> dict[str, Any]:
    if tokenizer.sp_model_kwargs:
        raise UnsupportedModelError(
            f"the tokenizer sets sp_model_kwargs={tokenizer.sp_model_kwargs}; sentencepiece is run with its defaults here. Load it without them."
        )
    if tokenizer.eos_token is None:
        raise UnsupportedModelError("the Marian tokenizer lacks an eos_token: set it in its tokenizer_config.json.")
    # With one vocabulary transformers encodes and decodes with the source model: target.spm is never read.
    names = ["source.spm", "target.spm"] if tokenizer.separate_vocabs else ["source.spm"]
    for name, file, model in zip(names, tokenizer.spm_files, (tokenizer.spm_source, tokenizer.spm_target), strict=False):
        write_spm(model, file, folder / name)
    write_json(tokenizer.encoder, folder / "vocab.json")
    if tokenizer.separate_vocabs:
        write_json(tokenizer.target_encoder, folder / "target_vocab.json")
    return {
        "kind": "marian",
        "separate_vocabs": bool(tokenizer.separate_vocabs),
        "source_lang": tokenizer.source_lang,  # the one it is trained on, if it says so: sentences end differently in each language
        "unk_token": tokenizer.unk_token,
        "eos_token_id": tokenizer.eos_token_id,
        **text_settings(tokenizer),
        **added_token_settings(tokenizer),
    }
