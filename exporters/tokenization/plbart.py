"""PLBart: a sentencepiece model, and the numbers that fairseq gives beside it."""

from pathlib import Path
from typing import Any

from zen_edge.errors import UnsupportedModelError
from zen_edge.exporters.tokenization.settings import language_settings, python_settings, write_spm

CLASS = "PLBartTokenizer"


def save(tokenizer: Any, folder: Path) -> dict[str, Any]:
    if not tokenizer.legacy:
        raise UnsupportedModelError("the PLBart tokenizer sets legacy=False, which its checkpoints were not trained with: load it without.")
    settings = {"kind": "plbart", **python_settings(tokenizer), **language_settings(tokenizer)}
    write_spm(tokenizer.sp_model, tokenizer.vocab_file, folder / "sentencepiece.bpe.model")
    return settings | {
        "fairseq_ids": tokenizer.fairseq_tokens_to_ids,
        "unk_token_id": tokenizer.unk_token_id,
        "vocab_size": tokenizer.vocab_size,
    }
