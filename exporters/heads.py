"""What the runtime must know of the outputs of a model that is an encoder and a head, for the manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from zen_edge.errors import CheckpointError, UnsupportedModelError
from zen_edge.exporters.checkpoint import Checkpoint
from zen_edge.exporters.embedding import embedding_head


def head(checkpoint: Checkpoint, task: str, folder: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """{} of other models. What does not fit a manifest is written into `folder`. Raises UnsupportedModelError or CheckpointError for what cannot be exported."""
    config, tokenizer = checkpoint.model.config, checkpoint.tokenizer
    if task == "text-embedding":
        return embedding_head(checkpoint, folder, tell)
    if task == "question-answering":
        return {"cls_token_id": _of_pairs(tokenizer).cls_token_id}
    if task in ("text-classification", "token-classification"):
        labels = [str(config.id2label.get(i, f"LABEL_{i}")) for i in range(config.num_labels)]
        told = {name: getattr(config, name, None) for name in ("problem_type", "function_to_apply")}
        return {"labels": labels, **{name: value for name, value in told.items() if value is not None}}
    if task == "fill-mask":
        if tokenizer.mask_token_id is None:
            raise CheckpointError("the tokenizer has no mask_token, which a model that fills masks needs: set it in tokenizer_config.json.")
        return {"mask_token": str(tokenizer.mask_token), "mask_token_id": int(tokenizer.mask_token_id)}
    return {}


def _of_pairs(tokenizer: Any) -> Any:
    """The tokenizer, where windows of question and context are made of it. UnsupportedModelError otherwise."""
    if not tokenizer.is_fast:
        raise UnsupportedModelError(
            f"answers are found by the characters of tokens, which a {type(tokenizer).__name__} does not tell: save it as tokenizer.json."
        )
    sides = tokenizer.padding_side, tokenizer.truncation_side
    if sides != ("right", "right"):
        raise UnsupportedModelError(f"the tokenizer pads and truncates {' and '.join(sides)}; question-answering is exported for right and right.")
    return tokenizer
