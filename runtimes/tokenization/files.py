"""The files that several kinds of tokenizer share. Each error names the file."""

import json
from pathlib import Path

from sentencepiece import SentencePieceProcessor

from zen_edge.errors import BundleError


def read_vocab(path: Path) -> dict[str, int]:
    """Piece to id."""
    try:
        vocab = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(f"cannot read the vocabulary {path}: {error}") from error
    if not isinstance(vocab, dict):
        raise BundleError(f"{path} should hold one JSON object, piece to id; it holds a {type(vocab).__name__}.")
    return vocab


def unknown_id(vocab: dict[str, int], unk_token: str, path: Path) -> int:
    if unk_token not in vocab:
        raise BundleError(f"{path} lacks the unknown word {unk_token!r}: export the model again.")
    return vocab[unk_token]


def read_spm(path: Path) -> SentencePieceProcessor:
    model = SentencePieceProcessor()
    try:
        model.LoadFromSerializedProto(path.read_bytes())
    except (OSError, RuntimeError) as error:
        raise BundleError(f"cannot read the sentencepiece model {path}: {error}") from error
    return model
