"""ProphetNet: vocab.json and how its words are cleaned."""

from pathlib import Path
from typing import Any

from zen_edge.exporters.tokenization.settings import no_language_settings, python_settings, write_json

CLASS = "ProphetNetTokenizer"


def save(tokenizer: Any, folder: Path) -> dict[str, Any]:
    basic = tokenizer.basic_tokenizer if tokenizer.do_basic_tokenize else None
    settings = {
        "kind": "prophetnet",
        "unk_token": tokenizer.unk_token,
        **python_settings(tokenizer),
        **no_language_settings(suffix_ids=(tokenizer.sep_token_id,)),
        "do_basic_tokenize": basic is not None,
        "do_lower_case": bool(basic and basic.do_lower_case),
        "tokenize_chinese_chars": bool(basic and basic.tokenize_chinese_chars),
        "strip_accents": basic.strip_accents if basic else False,
        "never_split": sorted(basic.never_split) if basic else [],
    }
    write_json(dict(tokenizer.vocab), folder / "vocab.json")
    return settings
