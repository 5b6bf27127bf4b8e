"""Attention as one fused operator while a transformers model is traced.

transformers lets one register an attention function and a mask function by name. Ours leave one com.microsoft::MultiHeadAttention in the
graph instead of the arithmetic, hand the padding mask through as it came, and give the operator its past keys and values, so that neither
masks nor caches are computed around it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.masking_utils import bidirectional_mask_function, causal_mask_function

from zen_edge.errors import UnsupportedModelError

NAME = "zen_edge"

# Keywords whose values change nothing when a model is evaluated: dropout is off, and the rest are for other attention functions or outputs.
HARMLESS = frozenset(
    {
        "dropout",
        "output_attentions",
        "output_hidden_states",
        "return_dict",
        "use_cache",
        "cu_seq_lens_q",
        "cu_seq_lens_k",
        "max_length_q",
        "max_length_k",
    }
    | {"position_ids", "cache_position", "encoder_hidden_states", "encoder_attention_mask", "past_key_values", "num_items_in_batch", "deterministic"}
)


class NotFusedError(UnsupportedModelError):
    """Attention that asks for what the fused operator does not do."""


@dataclass(frozen=True)
class MaskKind:
    """What a mask tensor made by `fused_mask` stands for. key_padding: (B,T) bool, True where a key may be seen; None: every key. window:
    (1,1,S,T) bool, the same by the places of query and key, as in layers that see their neighbours only; None: all places."""

    causal: bool
    key_padding: torch.Tensor | None
    window: torch.Tensor | None = None


class SelfAttentionLayer(DynamicLayer):
    """One decoder layer's self-attention cache whose past stays apart from the new keys and values, (R,N,P|S,H) each.

    `update` returns both joined, as every model expects. The attention function finds the layer again through the joined tensor and hands the
    parts to the operator, which joins them itself; the concatenation is then dead and leaves the graph.
    """

    def __init__(self, past_keys: torch.Tensor, past_values: torch.Tensor) -> None:
        super().__init__()
        self.lazy_initialization(past_keys, past_values)
        self.past = (past_keys, past_values)
        self.keys, self.values = past_keys, past_values

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        self.new = (key_states, value_states)
        self.keys = torch.cat([self.past[0], key_states], dim=-2)
        self.values = torch.cat([self.past[1], value_states], dim=-2)
        self.keys.zen_edge_layer = self
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self.keys.shape[-2]  # transformers asks numel() first, which would pin a symbolic length


class CrossAttentionLayer(DynamicLayer):
    """One decoder layer's cross-attention keys and values, (B,N,T,H): given, or kept from the first `update`.

    seen: which of them are no padding, (B,T): given, to be taken in the place of the model's own mask, or what the model's own mask was.
    """

    def __init__(self, keys: torch.Tensor | None = None, values: torch.Tensor | None = None, seen: torch.Tensor | None = None) -> None:
        super().__init__()
        self.keys, self.values, self.seen = keys, values, seen
        self.is_initialized = keys is not None
        if keys is not None:
            keys.zen_edge_cross = self

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        self.keys, self.values, self.is_initialized = key_states, value_states, True
        key_states.zen_edge_kept_by = self
        return key_states, value_states

    def get_seq_length(self) -> int:
        return 0 if self.keys is None else self.keys.shape[-2]


def fused_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int = 0,
    kv_offset: int = 0,
    mask_function: Callable[..., Any] = causal_mask_function,
    attention_mask: torch.Tensor | None = None,
    device: torch.device | None = None,
    use_vmap: bool = False,
    **_: Any,
) -> torch.Tensor:
    """A boolean mask, True where a key may be seen, marked with what it stands for: (1|B, 1, S|1, T).

    The attention function reads the mark and never the tensor, which is then dead; a model that computes with its mask gets one that is right.
    use_vmap: transformers' word for mask functions that may look at more than the places of query and key; those are refused.
    """
    if use_vmap:
        raise NotFusedError(
            f"this model masks attention with {getattr(mask_function, '__qualname__', mask_function)!r}; only masks of places and padding are exported so far."
        )
    causal, window = mask_function is causal_mask_function, None
    if mask_function is not bidirectional_mask_function:
        keys = torch.arange(kv_length, device=device)[None, None, None, :] + kv_offset
        queries = torch.arange(q_length, device=device)[None, None, :, None] + q_offset
        mask = keys <= queries if causal else mask_function(None, None, queries, keys)
        window = None if causal else mask
        if attention_mask is not None:
            mask = mask & attention_mask[:, None, None, :]
    elif attention_mask is not None:
        mask = attention_mask[:, None, None, :].to(torch.bool)
    else:
        mask = torch.ones((1, 1, 1, kv_length), dtype=torch.bool, device=device)
    mask.zen_edge_mask = MaskKind(causal, attention_mask, window)
    return mask


def _heads_last(x: torch.Tensor) -> torch.Tensor:
    """(B,N,S,H) -> (B,S,N*H), as the operator takes its queries."""
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], x.shape[1] * x.shape[3])


def _repeated(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(B,G,T,H) -> (B,heads,T,H): each of G key/value heads for the neighbouring query heads that share it."""
    B, G, T, H = x.shape
    if heads % G:
        raise UnsupportedModelError(f"{G} key/value heads cannot be shared by {heads} query heads.")
    return x[:, :, None].expand(B, G, heads // G, T, H).reshape(B, heads, T, H)


def _added(bias: torch.Tensor | None, mask: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    """What is added to the scores, with what a mask adds: booleans, True where a key may be seen, or numbers."""
    if mask is None:
        return bias
    numbers = torch.where(mask, 0.0, torch.finfo(dtype).min) if mask.dtype == torch.bool else mask
    return numbers if bias is None else bias + numbers


def _fold(query: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """(R,S,D) -> (B, R/B*S, D): rows that share an input become positions of one query, so that keys and values are not copied per beam.

    Said with ONNX operators, because PyTorch cannot know that R is a multiple of B.
    """
    R, S, D = query.shape
    B = keys.shape[0]
    rows = torch.onnx.ops.symbolic("Shape", [keys], {"start": 0, "end": 1}, dtype=torch.int64, shape=(1,))
    shape = torch.onnx.ops.symbolic("Concat", [rows, torch.tensor([-1, D])], {"axis": 0}, dtype=torch.int64, shape=(3,))
    return torch.onnx.ops.symbolic("Reshape", [query, shape], {}, dtype=query.dtype, shape=(B, R * S // B, D))


def _fold_bias(bias: torch.Tensor, query: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """(1,N,S,T), what is added to the scores of a query (R,S,D), for the query that `_fold` makes of it: (1,N,R/B*S,T), once for every row of an input."""
    R, S, _ = query.shape
    B, T = keys.shape[0], keys.shape[2]
    if bias.shape[0] != 1:
        raise UnsupportedModelError("a position bias that differs from input to input is not exported for cross-attention.")
    rows, inputs = (torch.onnx.ops.symbolic("Shape", [x], {"start": 0, "end": 1}, dtype=torch.int64, shape=(1,)) for x in (query, keys))
    times = torch.onnx.ops.symbolic("Div", [rows, inputs], {}, dtype=torch.int64, shape=(1,))
    repeats = torch.onnx.ops.symbolic("Concat", [torch.tensor([1, 1]), times, torch.tensor([1])], {"axis": 0}, dtype=torch.int64, shape=(4,))
    return torch.onnx.ops.symbolic("Tile", [bias, repeats], {}, dtype=bias.dtype, shape=(1, bias.shape[1], R * S // B, T))


def _unfold(x: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """(B, R/B*S, D) -> the shape of `query`, (R,S,D)."""
    shape = torch.onnx.ops.symbolic("Shape", [query], {}, dtype=torch.int64, shape=(3,))
    return torch.onnx.ops.symbolic("Reshape", [x, shape], {}, dtype=x.dtype, shape=tuple(query.shape))


def _operator(
    inputs: list[torch.Tensor | None], shapes: list[tuple[Any, ...]], num_heads: int, scale: float, causal: bool
) -> tuple[torch.Tensor, ...]:
    while inputs[-1] is None:
        inputs = inputs[:-1]
    dtype = inputs[0].dtype
    # The least finite number of the type, not the operator's default of -10000: a masked key gets exactly no weight, and float16 stays finite.
    attributes = {"num_heads": num_heads, "scale": scale, "mask_filter_value": torch.finfo(dtype).min} | ({"unidirectional": 1} if causal else {})
    return torch.onnx.ops.symbolic_multi_out(
        "com.microsoft::MultiHeadAttention", inputs, attributes, dtypes=[dtype] * len(shapes), shapes=shapes, version=1
    )


def fused_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    scaling: float | None = None,
    is_causal: bool | None = None,
    position_bias: torch.Tensor | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention function. query (R,N,S,H), key (B,N,T,H), value (B,N,T,W), of another width in some -> (R,S,N,W).

    Raises NotFusedError for anything it does not understand, because an ignored keyword is a wrong answer.
    """
    kind: MaskKind | None = getattr(attention_mask, "zen_edge_mask", None)
    honoured = HARMLESS if kind is None or kind.window is None else HARMLESS | {"sliding_window"}
    refused = sorted(name for name, given in others.items() if given is not None and name not in honoured)
    if refused:
        raise NotFusedError(f"{type(module).__name__} asks its attention for {', '.join(refused)}, which the fused operator does not do.")
    R, N, S, H = query.shape
    W = value.shape[3]
    scale = float(H**-0.5 if scaling is None else scaling)
    layer: SelfAttentionLayer | None = getattr(key, "zen_edge_layer", None)
    cross: CrossAttentionLayer | None = getattr(key, "zen_edge_cross", None)
    kept_by: CrossAttentionLayer | None = getattr(key, "zen_edge_kept_by", None)
    grouped = key.shape[1] != N
    padding, bias = None, position_bias
    if kind is not None and not (grouped and kind.causal):
        seen = kind.key_padding if cross is None or cross.seen is None else cross.seen
        causal, padding = kind.causal, None if seen is None else seen.to(torch.int32)
        bias = _added(bias, kind.window, query.dtype)
        if kept_by is not None:
            kept_by.seen = seen
    else:
        causal = attention_mask is None and S != 1 and bool(getattr(module, "is_causal", False) if is_causal is None else is_causal)
        bias = _added(bias, attention_mask, query.dtype)
    if bias is not None:
        bias = bias.expand(bias.shape[0], bias.shape[1], S, key.shape[2])

    merged = _heads_last(query)
    if grouped:  # the operator wants keys and values for every head; the cache keeps those there are, and past and new ones are joined before it
        key, value, layer = _repeated(key, N), _repeated(value, N), None
    if layer is not None:
        new_key, new_value = (_heads_last(x) for x in layer.new)
        present = [(R, N, key.shape[2], size) for size in (H, W)]
        inputs = [merged, new_key, new_value, None, padding, bias, *layer.past]
        out, layer.keys, layer.values = _operator(inputs, [(R, S, N * W), *present], N, scale, causal)
    elif cross is not None:
        folded = _fold(merged, key)
        bias = None if bias is None else _fold_bias(bias, merged, key)
        (out,) = _operator([folded, key, value, None, padding, bias], [tuple(folded.shape)], N, scale, causal)
        out = _unfold(out, merged)
    else:
        (out,) = _operator([merged, _heads_last(key), _heads_last(value), None, padding, bias], [(R, S, N * W)], N, scale, causal)
    return out.reshape(R, S, N, W), None


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    seen: torch.Tensor | None,
    num_heads: int,
    scale: float,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """The fused operator as it is, for architectures that lay their attention out in a way of their own: query (B,S,D), key and value (B,T,D),
    seen (B,T), 1 where a key may be seen, None: every key; bias (B|1,N|1,S,T), added to the scores -> (B,S,D)."""
    padding = None if seen is None else seen.to(torch.int32)
    (out,) = _operator([query, key, value, None, padding, bias], [tuple(query.shape)], num_heads, scale, causal=False)
    return out


@contextmanager
def replaced(modules: Iterable[torch.nn.Module], method: Callable[..., Any], name: str = "forward") -> Iterator[None]:
    """`modules` with `method(module, ...)` in the place of their own of that name inside the block."""
    changed = list(modules)
    for module in changed:
        setattr(module, name, functools.partial(method, module))
    try:
        yield
    finally:
        for module in changed:
            delattr(module, name)


@contextmanager
def fused(model: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """`model` with its attention fused inside the block, and as it was after it."""
    AttentionInterface.register(NAME, fused_attention)
    AttentionMaskInterface.register(NAME, fused_mask)
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    model.config._attn_implementation = NAME  # asked for by masks even where a model's own attention does not take it
    try:
        yield model
    finally:
        model.set_attn_implementation(before)
        model.config._attn_implementation = before


@contextmanager
def spelled(model: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """`model` with its attention written out in operators of arithmetic inside the block."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield model
    finally:
        model.set_attn_implementation(before)
