"""What the runtime must know of a model's outputs, for the manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from zen_edge.errors import UnsupportedModelError
from zen_edge.exporters import encoders
from zen_edge.exporters.checkpoint import Checkpoint
from zen_edge.exporters.embedding import embedding_head


def describe_head(checkpoint: Checkpoint, task: str, folder: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """{} where there is nothing. What is too large for a manifest is written into `folder`. Raises UnsupportedModelError or CheckpointError."""
    if task == "question-answering":
        _require_windows(checkpoint.tokenizer)
        return {"cls_token_id": checkpoint.tokenizer.cls_token_id}
    if task == "text-embedding":
        return embedding_head(checkpoint, folder, tell)
    return encoders.head(checkpoint.model, checkpoint.tokenizer, task)


def _require_windows(tokenizer: Any) -> None:
    """UnsupportedModelError where no windows of question and context are made as transformers makes them."""
    if not tokenizer.is_fast:
        raise UnsupportedModelError(
            f"answers are found by the characters of tokens, which a {type(tokenizer).__name__} does not tell: save it as tokenizer.json."
        )
    sides = tokenizer.padding_side, tokenizer.truncation_side
    if sides != ("right", "right"):
        raise UnsupportedModelError(f"the tokenizer pads and truncates {' and '.join(sides)}; question-answering is exported for right and right.")
