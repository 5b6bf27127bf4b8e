"""Modules of one's own, and what can be wrong with them: `tests/modules/own_layers.py:factory`."""

import math
from collections import namedtuple

import torch
from torch import nn
from torch.nn import functional as F

WIDTH = 32


class Textbook(nn.Module):
    """One head: softmax(Q K^T / sqrt(d_k)) V, for queries and keys of any two lengths."""

    def __init__(self, root=math.sqrt):
        super().__init__()
        self.query_projection, self.key_projection = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.value_projection, self.d_k, self.root = nn.Linear(WIDTH, 16), WIDTH, root

    def forward(self, query, key, value):
        Q, K, V = self.query_projection(query), self.key_projection(key), self.value_projection(value)
        scores = torch.matmul(Q, K.transpose(-2, -1)) / self.root(self.d_k)
        return torch.matmul(F.softmax(scores, dim=-1), V)


class Heads(nn.Module):
    """Several heads, a mask of the keys, and two outputs with names."""

    def __init__(self, heads=4):
        super().__init__()
        self.q, self.k, self.v, self.out, self.heads = *(nn.Linear(WIDTH, WIDTH) for _ in range(4)), heads
        self.dropout = nn.Dropout(0.5)

    def by_head(self, x):
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def forward(self, query, key, mask):
        q, k, v = self.by_head(self.q(query)), self.by_head(self.k(key)), self.by_head(self.v(key))
        scores = (q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
        weights = self.dropout(scores.masked_fill(mask[:, None, None] == 0, -1e9).softmax(-1))
        states = self.out((weights @ v).transpose(1, 2).flatten(2))
        return {"states": states, "query": states.mean(1)}


class Control(Textbook):
    def forward(self, query, key, value):
        if query.sum() > 0:
            return super().forward(query, key, value)
        return query


class Forgotten(Textbook):
    def forward(self, query, key, value):
        return F.dropout(super().forward(query, key, value), 0.5)


Pair = namedtuple("Pair", "first second")


class Named(nn.Module):
    def forward(self, x):
        return Pair(x + 1, [x * 2, x * 3])


def three():
    return torch.randn(2, 5, WIDTH), torch.randn(2, 7, WIDTH), torch.randn(2, 7, WIDTH)


def textbook():
    return Textbook(), three()


def heads():
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    return Heads(), {"mask": mask, "query": torch.randn(2, 3, WIDTH), "key": torch.randn(2, 6, WIDTH)}


def as_published():
    return Textbook(torch.sqrt), three()


def control():
    return Control(), three()


def forgotten():
    return Forgotten(), three()


def raises():
    raise ValueError("no weights are here")


def alone():
    return Textbook()


def not_tensors():
    return Textbook(), {"query": [[1.0]], "key": torch.ones(1, 2, WIDTH), "value": torch.ones(1, 2, WIDTH)}


def wrong_names():
    return Textbook(), {"q": torch.ones(1, 2, WIDTH)}


number = 3
