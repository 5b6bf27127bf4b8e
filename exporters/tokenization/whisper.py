"""Whisper's tokenizer: the `tokenizers` library, and tokens that only tell times or what stands before a transcript."""

from pathlib import Path
from typing import Any

from zen_edge.exporters.tokenization import fast

CLASS = "WhisperTokenizer"
PREVIOUS, TRANSCRIPT = "<|startofprev|>", "<|startoftranscript|>"


def save(tokenizer: Any, folder: Path) -> dict[str, Any]:
    previous, transcript = tokenizer.convert_tokens_to_ids([PREVIOUS, TRANSCRIPT])
    return {
        **fast.save(tokenizer, folder),
        "kind": "whisper",
        "start_of_previous_id": previous,
        "start_of_transcript_id": transcript,
        "first_special_id": tokenizer.all_special_ids[0],  # of those that a prompt may not hold
    }
