"""FSMT: the translators that fairseq entered at WMT 2019. Its attention has the time before the batch, and no function that could be registered."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.models.fsmt.modeling_fsmt import Attention

from zen_edge.exporters.attention import MaskKind, fused_attention, replaced

TASK = "translation"


def _attention(
    attention: Attention,
    query: torch.Tensor,
    key: torch.Tensor,
    key_padding_mask: torch.Tensor | None = None,
    layer_state: Any = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """query (S,R,D), key (T,B,D), key_padding_mask (B,T), True where there is padding -> (S,R,D). With a cache it is a decoder's, and causal if its own."""
    cross = attention.encoder_decoder_attention

    def heads(x: torch.Tensor) -> torch.Tensor:
        """(S,R,D) -> (R,N,S,H)"""
        return x.view(*x.shape[:2], attention.num_heads, attention.head_dim).permute(1, 2, 0, 3)

    if cross and layer_state.is_updated.get(attention.layer_idx):
        layer = layer_state.cross_attention_cache.layers[attention.layer_idx]
        keys, values = layer.keys, layer.values
    else:
        source = key if cross else query
        keys, values = heads(attention.k_proj(source)), heads(attention.v_proj(source))
        if layer_state is not None:
            cache = layer_state.cross_attention_cache if cross else layer_state.self_attention_cache
            keys, values = cache.update(keys, values, attention.layer_idx)
    mask = torch.ones(1)
    mask.zen_edge_mask = MaskKind(layer_state is not None and not cross, None if key_padding_mask is None else ~key_padding_mask)
    out, _ = fused_attention(attention, heads(attention.q_proj(query)), keys, values, mask, attention.scaling)
    return attention.out_proj(out.flatten(2).transpose(0, 1)), None


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    with replaced((module for module in model.modules() if isinstance(module, Attention)), _attention):
        yield
