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
    for name, file, model in zip(("source.spm", "target.spm"), tokenizer.spm_files, (tokenizer.spm_source, tokenizer.spm_target), strict=True):
        write_spm(model, file, folder / name)
    # With one vocabulary transformers decodes with the source model, and reads target.spm for target texts only.
    if not tokenizer.separate_vocabs and (folder / "target.spm").read_bytes() == (folder / "source.spm").read_bytes():
        (folder / "target.spm").unlink()
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
