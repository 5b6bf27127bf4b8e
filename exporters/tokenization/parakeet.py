"""Parakeet's word pieces: the `tokenizers` library, told one piece for each output, the padding piece standing for silence."""

from pathlib import Path
from typing import Any

from zen_edge.exporters.tokenization import fast

CLASS = "ParakeetTokenizer"


def save(tokenizer: Any, folder: Path) -> dict[str, Any]:
    return {**fast.save(tokenizer, folder), "kind": "parakeet"}
