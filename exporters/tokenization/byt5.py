"""ByT5: bytes; nothing to write."""

from pathlib import Path
from typing import Any

from zen_edge.exporters.tokenization.settings import no_language_settings, python_settings

CLASS = "ByT5Tokenizer"


def save(tokenizer: Any, folder: Path) -> dict[str, Any]:
    return {
        "kind": "byt5",
        **python_settings(tokenizer),
        **no_language_settings(),
        "eos_token_id": tokenizer.eos_token_id,
        "offset": tokenizer.offset,
    }
