"""Attention in every spelling that we know, exported and compared at other sizes than the example's."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import zen_edge

pytestmark = pytest.mark.sweep  # a trace each

D, N, H = 32, 4, 8
INFINITE = float("-inf")


class Spelt(nn.Module):
    """`forward` of a spelling, with projections and tables that it may use."""

    def __init__(self, spelling):
        super().__init__()
        self.spelling = spelling
        self.q, self.k, self.v, self.few = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, 2 * H)
        self.qkv, self.drop, self.bias, self.temperature = nn.Linear(D, 3 * D), nn.Dropout(0.4), nn.Embedding(64, N), nn.Parameter(torch.tensor(0.3))
        angle = torch.arange(64)[:, None] / 10 ** torch.arange(0, 4, 0.5)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        self.layer = nn.MultiheadAttention(D, N, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(D, N, 48, batch_first=True), 2)
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(D, N, 48, batch_first=True), 1)
        self.whole = nn.Transformer(D, N, 1, 1, 48, batch_first=True)

    def forward(self, query, key, mask=None):
        return self.spelling(self, query, key) if mask is None else self.spelling(self, query, key, mask)

    def heads(self, query, key):
        return tuple(by_head(project(x)) for project, x in ((self.q, query), (self.k, key), (self.v, key)))


def by_head(x):
    return x.view(x.shape[0], -1, x.shape[-1] // H, H).transpose(1, 2)


def together(x):
    return x.transpose(1, 2).flatten(2)


def masked(change):
    """softmax(change(scores, mask)) V, by view and transpose."""

    def spelling(m, query, key, mask=None):
        q, k, v = m.heads(query, key)
        return together(m.drop(torch.softmax(change(q @ k.transpose(-1, -2) / math.sqrt(H), mask), -1)) @ v)

    return spelling


def rotated(m, x):
    return x * m.cos[: x.shape[2]] + torch.cat([-x[..., 4:], x[..., :4]], -1) * m.sin[: x.shape[2]]


def fused_by_chunk(m, query, key):
    q, k, v = (x.reshape(*x.shape[:2], N, H).permute(0, 2, 1, 3) for x in m.qkv(query).chunk(3, dim=-1))
    return (((q @ k.mT) * H**-0.5).softmax(-1) @ v).transpose(1, 2).reshape(query.shape)


def fused_by_permute(m, query, key):
    q, k, v = m.qkv(query).reshape(*query.shape[:2], 3, N, H).permute(2, 0, 3, 1, 4).unbind(0)
    return ((q * H**-0.5 @ k.mT).softmax(-1) @ v).transpose(1, 2).reshape(query.shape)


def einsum(m, query, key, mask):
    q, k, v = (x.view(*x.shape[:2], N, H) for x in (m.q(query), m.k(key), m.v(key)))
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k).masked_fill(mask[:, None, None] == 0, -1e9) / math.sqrt(H)
    return torch.einsum("bhqk,bkhd->bqhd", m.drop(scores.softmax(-1)), v).flatten(2)


def einsum_heads_inside(m, query, key):
    q, k, v = (x.view(*x.shape[:2], N, H) for x in (m.q(query), m.k(key), m.v(key)))
    return torch.einsum("bkhd,bqhk->bqhd", v, torch.softmax(torch.einsum("bqhd,bkhd->bqhk", q, k) / 3, dim=-1)).flatten(2)


def heads_in_the_batch(m, query, key, mask):
    B, S, T = len(query), query.shape[1], key.shape[1]
    q, k, v = (x.reshape(B * N, -1, H) for x in m.heads(query, key))
    scores = torch.bmm(q, k.transpose(1, 2)).view(B, N, S, T) + (1.0 - mask[:, None, None]) * -10000.0
    return together(torch.bmm(F.softmax(scores.view(B * N, S, T) / H**0.5, -1), v).view(B, N, S, H))


def heads_by_split(m, query, key):
    q, k, v = (torch.cat(project(x).split(H, 2), 0) for project, x in ((m.q, query), (m.k, key), (m.v, key)))
    return torch.cat(F.softmax(q.bmm(k.transpose(1, 2)) / H**0.5, 2).bmm(v).split(len(query), 0), 2)


def channels_first(m, query, key):
    q, k, v = m.q(query).transpose(1, 2), m.k(key).transpose(1, 2), m.v(key).transpose(1, 2)
    weights = torch.softmax(torch.bmm(q.permute(0, 2, 1), k) * D**-0.5, dim=2)
    return torch.bmm(v, weights.permute(0, 2, 1)).transpose(1, 2)


def keys_first(m, query, key):
    weights = torch.softmax(torch.matmul(m.k(key), m.q(query).transpose(1, 2)), dim=1)
    return torch.matmul(weights.transpose(1, 2), m.v(key))


def few_heads(spread):
    def spelling(m, query, key):
        k, v = by_head(m.few(key)), by_head(m.few(key) + 1)
        return together((by_head(m.q(query)) @ spread(k).transpose(2, 3) / H**0.5).softmax(-1) @ spread(v))

    return spelling


def few_heads_in_five_axes(m, query, key):
    k, v, B, S = by_head(m.few(key)), by_head(m.few(key) + 1), len(query), query.shape[1]
    q = by_head(m.q(query)).reshape(B, 2, 2, S, H)
    return together(((q @ k[:, :, None].mT / H**0.5).softmax(-1) @ v[:, :, None]).reshape(B, N, S, H))


def one_key_head(m, query, key):
    k = m.few(key)[..., :H]
    return together((by_head(m.q(query)) @ k[:, None].mT / H**0.5).softmax(-1) @ k[:, None])


def rotary(m, query, key):
    q, k, v = m.heads(query, key)
    return together((rotated(m, q) @ rotated(m, k).mT * H**-0.5).softmax(-1) @ v)


def relative(m, query, key):
    q, k, v = m.heads(query, key)
    apart = (torch.arange(key.shape[1])[None] - torch.arange(query.shape[1])[:, None]).clamp(-31, 31) + 31
    return together((q @ k.mT + m.bias(apart).permute(2, 0, 1)[None]).softmax(-1) @ v)


def slopes(m, query, key):
    q, k, v = m.heads(query, key)
    apart = (torch.arange(key.shape[1])[None] - torch.arange(query.shape[1])[:, None]).abs()
    return together((q @ k.mT / 2 - torch.tensor([0.5, 0.2, 0.1, 0.05])[:, None, None] * apart).softmax(-1) @ v)


def two_products(m, query, key):
    q, k, v = m.heads(query, key)
    return together(((q + m.cos[3]) @ k.mT + q @ m.sin[2][:, None]).div(3).softmax(-1) @ v)


def learned_queries(m, query, key):
    q, k, v = by_head(m.q(m.sin[None, :6].repeat(1, 1, N))), by_head(m.k(key)), by_head(m.v(key))
    return together((q @ k.mT).softmax(-1) @ v) + query.mean()


def windows(m, query, key):
    q, k, v = (x.unflatten(1, (-1, 1)).expand(-1, -1, 3, -1) for x in (m.q(key), m.k(key), m.v(key)))
    return ((q @ k.mT) * 0.2 + query.mean()).softmax(-1) @ v


def whole(**options):
    return lambda m, query, key: together(F.scaled_dot_product_attention(*m.heads(query, key), **options))


def whole_masked(shape):
    return lambda m, query, key, mask: together(F.scaled_dot_product_attention(*m.heads(query, key), attn_mask=shape(mask)))


def causal(S):
    return nn.Transformer.generate_square_subsequent_mask(S)


def below(scores):
    return torch.ones(scores.shape[-2:], dtype=torch.bool).tril()


KEYS = torch.tensor([[1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1, 1], [0] * 7])
# {name: (spelling, mask, attention layers in it)}
SPELLINGS = {
    "heads by view": (masked(lambda s, m: s), None, 1),
    "a learned scale": (masked(lambda s, m: s * torch.clamp(s.new_tensor(2.0), max=5.0)), None, 1),
    "made stable": (masked(lambda s, m: s - s.max(-1, keepdim=True).values), None, 1),
    "replaced by -inf": (masked(lambda s, m: s.masked_fill(~m[:, None, None], INFINITE)), KEYS.bool(), 1),
    "replaced by the least": (masked(lambda s, m: torch.where(m[:, None, None], s, torch.finfo(s.dtype).min)), KEYS.bool(), 1),
    "added": (masked(lambda s, m: s + (1.0 - m[:, None, None]) * -1e4), KEYS.float(), 1),
    "scaled after": (masked(lambda s, m: (s + m) * 0.5), torch.randn(5, 7), 1),
    "by head": (masked(lambda s, m: s + m), torch.randn(1, N, 1, 7), 1),
    "causal, replaced": (masked(lambda s, m: s.masked_fill(~below(s), INFINITE)), None, 1),
    "causal, added": (masked(lambda s, m: s + torch.full(s.shape[-2:], INFINITE).triu(1)), None, 1),
    "padding and causal": (masked(lambda s, m: s.masked_fill(m[:, None, None] == 0, -1e9).masked_fill(~below(s), -1e9)), KEYS, 1),
    "chunk": (fused_by_chunk, None, 1),
    "permute": (fused_by_permute, None, 1),
    "einsum": (einsum, KEYS, 1),
    "einsum, heads inside": (einsum_heads_inside, None, 1),
    "heads in the batch": (heads_in_the_batch, KEYS[:2].float(), 1),
    "heads by split": (heads_by_split, None, 1),
    "channels first": (channels_first, None, 1),
    "keys first": (keys_first, None, 1),
    "heads repeated": (few_heads(lambda x: x.repeat_interleave(2, 1)), None, 1),
    "heads expanded": (few_heads(lambda x: x[:, :, None].expand(-1, -1, 2, -1, -1).flatten(1, 2)), None, 1),
    "five axes": (few_heads_in_five_axes, None, 1),
    "one key head": (one_key_head, None, 1),
    "rotary": (rotary, None, 1),
    "relative": (relative, None, 1),
    "slopes": (slopes, None, 1),
    "two products": (two_products, None, 1),
    "learned queries": (learned_queries, None, 1),
    "windows": (windows, None, 1),
    "whole": (whole(), None, 1),
    "whole, causal": (whole(is_causal=True, scale=0.2), None, 1),
    "whole, padded": (whole_masked(lambda m: m[:, None, None]), KEYS.bool(), 1),
    "whole, biased": (whole_masked(lambda m: m), torch.randn(5, 7), 1),
    "whole, few heads": (
        lambda m, q, k: together(F.scaled_dot_product_attention(by_head(m.q(q)), by_head(m.few(k)), by_head(m.few(k)), enable_gqa=True)), None, 1,
    ),
    "whole, one head": (lambda m, q, k: F.scaled_dot_product_attention(q, k, k), None, 1),
    "PyTorch's layer": (lambda m, q, k: m.layer(q, k, k, need_weights=False)[0], None, 1),
    "PyTorch's layer, weights dropped": (lambda m, q, k, mask: m.layer(q, k, k, key_padding_mask=~mask)[0], KEYS[:2].bool(), 1),
    "PyTorch's encoder": (lambda m, q, k, mask: m.encoder(k, src_key_padding_mask=~mask) + q.mean(), KEYS[:2].bool(), 2),
    "PyTorch's decoder": (lambda m, q, k: m.decoder(q, k, tgt_mask=causal(q.shape[1])), None, 2),
    "PyTorch's transformer": (lambda m, q, k: m.whole(k, q, tgt_mask=causal(q.shape[1]), tgt_is_causal=True), None, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLINGS)
def test_it_is_fused_and_right(tmp_path, name):
    spelling, mask, layers = SPELLINGS[name]
    torch.manual_seed(1)
    rows = len(mask) if mask is not None and mask.shape[1:] == (7,) and len(mask) < 4 else 2
    inputs = {"query": torch.randn(rows, 5, D), "key": torch.randn(rows, 7, D)} | ({} if mask is None else {"mask": mask})
    bundle = zen_edge.export(Spelt(spelling), tmp_path / "out", example_inputs=inputs)  # compared at many sizes before it is kept
    graph = bundle.manifest.graph("module")
    assert (graph.fused_attention, graph.unfused_attention, graph.unfused_reasons) == (layers, 0, ())
    assert len(bundle.manifest.parity["outputs"]) >= 5
    free = {letter for tensor in graph.inputs for letter in tensor.shape if isinstance(letter, str)}
    assert len(free) >= 2


UNFUSED = {
    "a cap": (masked(lambda s, m: torch.tanh(s) * 5), "Tanh"),
    "a scale for each head": (masked(lambda s, m: s * torch.tensor([1.0, 2.0, 0.5, 0.1])[:, None, None]), "Mul"),
    "over the queries": (lambda m, q, k: torch.softmax(m.q(q) @ m.k(k).mT, 1) @ m.v(k), "another axis"),
    "replaced by zero": (masked(lambda s, m: s.masked_fill(~below(s), 0.0)), "Where"),
}


@pytest.mark.parametrize("name", UNFUSED)
def test_it_stays_and_says_why(tmp_path, name):
    spelling, reason = UNFUSED[name]
    inputs = {"query": torch.randn(2, 5, D), "key": torch.randn(2, 7, D)}
    graph = zen_edge.export(Spelt(spelling), tmp_path / "out", example_inputs=inputs).manifest.graph("module")
    assert (graph.fused_attention, graph.unfused_attention) == (0, 1)
    assert reason in graph.unfused_reasons[0]
