"""M2M-100: a sentencepiece model and vocab.json; languages are numbered after it."""

from pathlib import Path
from typing import Any

from zen_edge.exporters.tokenization.settings import language_settings, python_settings, write_json, write_spm

CLASS = "M2M100Tokenizer"


def save(tokenizer: Any, folder: Path) -> dict[str, Any]:
    settings = {"kind": "m2m_100", "unk_token": tokenizer.unk_token, **python_settings(tokenizer), **language_settings(tokenizer)}
    write_spm(tokenizer.sp_model, tokenizer.spm_file, folder / "sentencepiece.bpe.model")
    write_json(tokenizer.encoder, folder / "vocab.json")
    return settings
