"""XLNet: attends by relative positions as Transformer-XL does, in both directions where no order of words is asked for, and to segments besides."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.models.xlnet.modeling_xlnet import XLNetModel, XLNetRelativeAttention

from zen_edge.exporters.attention import attend, replaced
from zen_edge.exporters.relative import shifted

MASKED = -1e30  # added to the score of what is not seen


def _attention(
    attention: XLNetRelativeAttention,
    q_head: torch.Tensor,
    k_head_h: torch.Tensor,
    v_head_h: torch.Tensor,
    k_head_r: torch.Tensor,
    seg_mat: torch.Tensor | None = None,
    attn_mask: torch.Tensor | None = None,
    output_attentions: bool = False,
) -> torch.Tensor:
    """q_head, k_head_h, v_head_h (T,B,N,H), k_head_r (2T,B,N,H) from T places before the query on, seg_mat (T,T,B,2), attn_mask (T,T,B,1), 1 for what is not seen
    -> (T,B,N,H)."""
    N, H = q_head.shape[2:]
    places = torch.einsum("ibnd,jbnd->bnij", q_head + attention.r_r_bias, k_head_r)  # (B,N,T,2T)
    bias = shifted(places[..., 1:])
    if seg_mat is not None:
        of_segments = torch.einsum("ibnd,snd->ibns", q_head + attention.r_s_bias, attention.seg_embed)
        bias = bias + torch.einsum("ijbs,ibns->bnij", seg_mat, of_segments)
    bias = bias * attention.scale
    if attn_mask is not None:
        bias = bias + MASKED * attn_mask.permute(2, 3, 0, 1)
    query, key, value = (x.transpose(0, 1).flatten(2) for x in (q_head + attention.r_w_bias, k_head_h, v_head_h))
    return attend(query, key, value, None, N, attention.scale, bias).unflatten(-1, (N, H)).transpose(0, 1)


def _run(model: XLNetModel, *given: Any, attention_mask: torch.Tensor | None = None, **more: Any) -> Any:
    """With a mask of numbers that it can be taken from 1.0 without changing their kind, which ONNX does not."""
    return XLNetModel.forward(model, *given, attention_mask=None if attention_mask is None else attention_mask.float(), **more)


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    attentions, models = ([module for module in model.modules() if isinstance(module, kind)] for kind in (XLNetRelativeAttention, XLNetModel))
    with (
        replaced(attentions, _attention, "rel_attn_core"),
        replaced(models, _run),
        replaced(models, lambda _, states, before: states, "cache_mem"),  # for a next text, and cut to a length
    ):
        yield
