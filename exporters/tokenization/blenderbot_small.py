"""Blenderbot-90M: vocab.json and its merges, best first."""

from pathlib import Path
from typing import Any

from zen_edge.exporters.tokenization.settings import no_language_settings, python_settings, write_json

CLASS = "BlenderbotSmallTokenizer"


def save(tokenizer: Any, folder: Path) -> dict[str, Any]:
    settings = {"kind": "blenderbot_small", "unk_token": tokenizer.unk_token, **python_settings(tokenizer), **no_language_settings()}
    write_json(tokenizer.encoder, folder / "vocab.json")
    write_json(sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__), folder / "merges.json")
    return settings
