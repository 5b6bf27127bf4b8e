"""M2M-100: sentencepiece cuts the text, vocab.json numbers the pieces, languages (`__fr__`) follow after them. As transformers' M2M100Tokenizer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zen_edge.runtimes.tokenization.numbered_pieces import NumberedPieces
from zen_edge.runtimes.tokenization.python_backend import PythonTokenizer


def load(folder: Path, settings: Mapping[str, Any]) -> PythonTokenizer:
    """Reads sentencepiece.bpe.model and vocab.json."""
    languages = {f"__{code}__": int(id) for code, id in settings["languages"].items()}
    return PythonTokenizer(NumberedPieces(folder, settings, languages), settings)
