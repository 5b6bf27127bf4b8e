"""Pegasus-X: trained to summarize long documents. Its encoder attends within blocks and to a few global tokens.

transformers pads the source to whole blocks if it has to, and cuts it into views, which cannot be traced with a free length. Here the blocks are
made by ONNX operators, around attention alone, and stand in the batch of one fused operator each: the same sums over the same keys.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.models.pegasus_x.modeling_pegasus_x import PegasusXEncoderLayer

from zen_edge.exporters.attention import attend, replaced

TASK = "summarization"
NOTE = "taken for summarization, as most Pegasus-X checkpoints are; give --task for another"


def _layer(
    layer: PegasusXEncoderLayer, hidden_states: torch.Tensor, global_hidden_states: torch.Tensor, attention_mask: torch.Tensor, **_: Any
) -> Any:
    """hidden_states (B,T,D), global_hidden_states (B,G,D), attention_mask (B,T), 0 where a word is -> both states."""
    words, globals_ = layer.self_attn_layer_norm(hidden_states), layer.global_self_attn_layer_norm(global_hidden_states)
    shift = layer.block_size // 2 if layer.stagger_blocks_this_layer else 0
    words, globals_ = _attention(layer.self_attn, words, globals_, attention_mask == 0, shift)
    return _feed_forward(layer, hidden_states + words), _feed_forward(layer, global_hidden_states + globals_)


def _feed_forward(layer: PegasusXEncoderLayer, x: torch.Tensor) -> torch.Tensor:
    return x + layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(x))))


def _attention(attention: Any, words: torch.Tensor, globals_: torch.Tensor, seen: torch.Tensor, shift: int) -> tuple[torch.Tensor, torch.Tensor]:
    """shift: how many places before the first word the first block begins."""
    (B, T, D), G, size = words.shape, globals_.shape[1], attention.block_size
    heads, scale = attention.num_heads, attention.scaling
    query, key, value = attention.q_proj(words), attention.k_proj(words), attention.v_proj(words)
    global_key, global_value = attention.k_proj(globals_), attention.v_proj(globals_)
    always = torch.ones(B, G, dtype=torch.bool)
    everything = [torch.cat(pair, dim=1) for pair in ((global_key, key), (global_value, value), (always, seen))]
    to_all = attend(attention.q_proj(globals_), *everything, heads, scale)

    count = _int64("Shape", words, start=1, end=2)  # T, as ONNX has it: PyTorch would ask how it compares with the block size
    blocks = _int64("Div", _int64("Add", count, shift + size - 1), size)
    length = _int64("Mul", blocks, size)
    after = _int64("Sub", length, _int64("Add", count, shift))
    rows = _int64("Shape", words, start=0, end=1)
    # Sizes of their own in the trace: every symbol has to mean one number, because ONNX Runtime plans its memory by them.
    K, whole, BK = (x[0].item() for x in (blocks, length, _int64("Mul", rows, blocks)))

    def cut(x: torch.Tensor) -> torch.Tensor:
        """(B,T,...) -> (BK,size,...)"""
        beside = [0] * (x.dim() - 2)
        pads = _int64("Concat", torch.tensor([0, shift, *beside, 0]), after, torch.tensor(beside, dtype=torch.int64), axis=0)
        padded = _as(x, "Pad", (B, whole, *x.shape[2:]), pads)
        return _as(padded, "Reshape", (BK, size, *x.shape[2:]), torch.tensor([-1, size, *x.shape[2:]]))

    def to_each(x: torch.Tensor) -> torch.Tensor:
        """(B,G,...) -> (BK,G,...)"""
        shape = _int64("Concat", torch.tensor([1]), blocks, torch.tensor([1] * (x.dim() - 1)), axis=0)
        several = _as(x[:, None], "Expand", (B, K, *x.shape[1:]), shape)
        return _as(several, "Reshape", (BK, *x.shape[1:]), torch.tensor([-1, *x.shape[1:]]))

    pairs = ((global_key, key), (global_value, value), (always, seen))
    local = attend(cut(query), *(torch.cat([to_each(a), cut(b)], dim=1) for a, b in pairs), heads, scale)
    joined = _as(local, "Reshape", (B, whole, D), _int64("Concat", rows, torch.tensor([-1, D]), axis=0))
    ends = (torch.tensor([shift]), _int64("Add", count, shift), torch.tensor([1]))
    return attention.out_proj(_as(joined, "Slice", (B, T, D), *ends)), attention.out_proj(to_all)


def _int64(op: str, *inputs: torch.Tensor | int, **attributes: int) -> torch.Tensor:
    """A vector of one size or several, by an ONNX operator."""
    values = [torch.tensor([x]) if isinstance(x, int) else x for x in inputs]
    length = sum(len(x) for x in values) if op == "Concat" else 1
    return torch.onnx.ops.symbolic(op, values, attributes, dtype=torch.int64, shape=(length,))


def _as(x: torch.Tensor, op: str, shape: tuple[int, ...], *inputs: torch.Tensor) -> torch.Tensor:
    """`x` laid out anew by an ONNX operator, with a shape that PyTorch takes on trust."""
    return torch.onnx.ops.symbolic(op, [x, *inputs], {}, dtype=x.dtype, shape=shape)


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    size = model.config.block_size
    model.config.block_size = 1  # the encoder pads to whole blocks of this size: none of its own padding; layers keep their own
    try:
        with replaced((module for module in model.modules() if isinstance(module, PegasusXEncoderLayer)), _layer):
            yield
    finally:
        model.config.block_size = size
