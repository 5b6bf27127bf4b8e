"""Speech2Text: a sentencepiece model and vocab.json; a language is what the target begins with."""

from pathlib import Path
from typing import Any

from zen_edge.exporters.tokenization.settings import no_language_settings, python_settings, write_json, write_spm

CLASS = "Speech2TextTokenizer"


def save(tokenizer: Any, folder: Path) -> dict[str, Any]:
    settings = {
        "kind": "speech_to_text",
        "unk_token": tokenizer.unk_token,
        "do_upper_case": bool(tokenizer.do_upper_case),
        **python_settings(tokenizer),
        **no_language_settings(tuple(tokenizer.prefix_tokens), (tokenizer.eos_token_id,)),
        "languages": dict(tokenizer.lang_code_to_id),
    }
    write_spm(tokenizer.sp_model, tokenizer.spm_file, folder / "sentencepiece.bpe.model")
    write_json(tokenizer.encoder, folder / "vocab.json")
    return settings
