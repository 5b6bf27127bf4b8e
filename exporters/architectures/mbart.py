"""mBART and mBART-50: translators between many languages. Texts are classified by the last of their states at </s>."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from transformers.models.mbart import modeling_mbart

from zen_edge.exporters import last_end

TASK = "translation"
NOTE = "taken for translation, as most mBART checkpoints are; give --task for another"


def _turned(input_ids: torch.Tensor, pad_token_id: int) -> torch.Tensor:
    """(B,T), the last word first. transformers squeezes the axis of texts away where there is one, which a graph would do for good."""
    last = input_ids.ne(pad_token_id).sum(1, keepdim=True) - 1
    return torch.cat([input_ids.gather(1, last), input_ids[:, :-1]], dim=1)


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    with patch.object(modeling_mbart, "shift_tokens_right", _turned), last_end.tracing(model):
        yield
