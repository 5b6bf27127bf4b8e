"""What a trace of a user's module writes down otherwise than PyTorch would: in a form that can be traced, and that the fusions follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from zen_edge.exporters.fusions.attention import DOMAIN, WHOLE


class Spellings(TorchFunctionMode):
    """Inside the block PyTorch's own attention is one node, a split is slices in place of a sequence of tensors, and PyTorch's transformers do not look
    whether a mask that they are given is causal, which they would ask the numbers in it and which changes nothing."""

    def __enter__(self) -> Spellings:
        self._detect = torch.nn.modules.transformer._detect_is_causal_mask
        torch.nn.modules.transformer._detect_is_causal_mask = lambda mask, is_causal=None, size=None: is_causal is True
        torch.nn.functional.scaled_dot_product_attention = _attention  # PyTorch's own layers call it where no mode is asked
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        torch.nn.modules.transformer._detect_is_causal_mask = self._detect
        torch.nn.functional.scaled_dot_product_attention = scaled_dot_product_attention
        super().__exit__(*raised)

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if func is scaled_dot_product_attention:
            return _attention(*args, **kwargs)
        if func in (torch.split, torch.Tensor.split):
            return _slices(*args, **kwargs)
        return func(*args, **kwargs)


def _attention(*args: Any, **kwargs: Any) -> torch.Tensor:
    found = _whole_attention(*args, **kwargs)
    return scaled_dot_product_attention(*args, **kwargs) if found is None else found


def _whole_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor | None:
    """query (...,S,H), key (...,T,H), value (...,T,V) -> (...,S,V); None where the operator has no kernel for the type, or the
    size of the heads is free."""
    if not isinstance(query.shape[-1], int) or not isinstance(value.shape[-1], int):
        return None
    if query.dtype != torch.float32 or dropout_p or (attn_mask is not None and attn_mask.dtype not in (torch.bool, torch.float32)):
        return None
    if enable_gqa:  # each of the key's heads for the neighbouring query heads that share it
        key, value = (x.repeat_interleave(query.shape[-3] // x.shape[-3], -3) for x in (key, value))
    lead = torch.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    inputs = [query, key, value, *([] if attn_mask is None else [attn_mask])]
    attributes = {"scale": float(query.shape[-1] ** -0.5 if scale is None else scale), "is_causal": int(is_causal)}
    shape = (*lead, query.shape[-2], value.shape[-1])
    return torch.onnx.ops.symbolic(f"{DOMAIN}::{WHOLE}", inputs, attributes, dtype=query.dtype, shape=shape, version=1)


def _slices(x: torch.Tensor, split_size_or_sections: Any = None, dim: int = 0, **others: Any) -> tuple[torch.Tensor, ...]:
    size = others.get("split_size", split_size_or_sections)
    whole = x.shape[dim]
    sizes = list(size) if isinstance(size, list | tuple) else [size] * int(whole // size)
    if not isinstance(size, list | tuple) and len(sizes) * size != whole:
        sizes.append(whole - len(sizes) * size)
    parts, start = [], 0
    for one in sizes:
        parts.append(x.narrow(dim, start, one))
        start = start + one
    return tuple(parts)
