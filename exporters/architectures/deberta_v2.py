"""DeBERTa v2 and v3: words and places are scored apart and the scores added, as in SEW-D, which took its attention from here."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.models.deberta_v2.modeling_deberta_v2 import DebertaV2Encoder, DisentangledSelfAttention

from zen_edge.exporters.architectures.sew_d import disentangled
from zen_edge.exporters.attention import replaced


def _attention(attention: DisentangledSelfAttention, hidden_states: torch.Tensor, attention_mask: torch.Tensor, *_: Any, **more: Any) -> Any:
    return disentangled(attention, hidden_states, attention_mask, more["rel_embeddings"])


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    """Only where places are relative: attention without them stays as it is. A mask of keys alone is as good as one of queries and keys, because nobody reads
    what padding asks."""
    attention = [module for module in model.modules() if isinstance(module, DisentangledSelfAttention) and module.relative_attention]
    encoders = [module for module in model.modules() if isinstance(module, DebertaV2Encoder) and module.relative_attention]
    with replaced(attention, _attention), replaced(encoders, lambda encoder, mask: mask[:, None, None], "get_attention_mask"):
        yield
