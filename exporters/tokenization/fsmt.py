"""FSMT: a vocabulary for each language, and merges for both."""

from pathlib import Path
from typing import Any

from zen_edge.exporters.tokenization.settings import no_language_settings, python_settings, write_json

CLASS = "FSMTTokenizer"


def save(tokenizer: Any, folder: Path) -> dict[str, Any]:
    settings = {
        "kind": "fsmt",
        "unk_token": tokenizer.unk_token,
        "moses": [tokenizer.src_lang, tokenizer.tgt_lang],
        "lower_case": bool(tokenizer.do_lower_case),
        **python_settings(tokenizer),
        **no_language_settings(suffix_ids=(tokenizer.sep_token_id,)),
    }
    write_json(tokenizer.encoder, folder / "vocab.json")
    write_json({token: id for id, token in tokenizer.decoder.items()}, folder / "target_vocab.json")
    write_json(sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__), folder / "merges.json")
    return settings
