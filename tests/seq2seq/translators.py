"""Translators of one's own: additive and multiplicative attention around LSTM, GRU and plain cells, with random weights large enough that outputs differ."""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from zen_edge.exporters import Seq2Seq, Vocabulary

SIZE, WIDTH = 40, 32
SOURCE = Vocabulary(["<pad>", "<s>", "</s>", "<unk>", *(f"w{i}" for i in range(SIZE - 4))], unknown="<unk>")
TARGET = Vocabulary(["<pad>", "<s>", "</s>", *(f"mot{i}" for i in range(SIZE - 3))])
LARGER = 2.5


class Encoder(nn.Module):
    """Both ways, packed; the last states of both sides are projected to those of the decoder."""

    def __init__(self, kind=nn.LSTM, layers=2, packed=True, sides=2):
        super().__init__()
        self.words, self.packed = nn.Embedding(SIZE, WIDTH), packed
        self.read = kind(WIDTH, WIDTH // sides, layers, batch_first=True, bidirectional=sides == 2)
        self.first = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2))
        self.sides = sides

    def forward(self, ids, mask):
        x = self.words(ids)
        if self.packed:
            x = pack_padded_sequence(x, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        memory, last = self.read(x)
        if self.packed:
            memory, _ = pad_packed_sequence(memory, batch_first=True, total_length=ids.shape[1])
        last = last if isinstance(last, tuple) else (last,)
        states = tuple(torch.tanh(project(torch.cat(list(one[-self.sides :]), -1))) for project, one in zip(self.first, last, strict=False))
        return {"memory": memory, "state": states if len(states) > 1 else states[0]}


class Additive(nn.Module):
    """Bahdanau et al. 2015."""

    def __init__(self):
        super().__init__()
        self.words, self.cell, self.out = nn.Embedding(SIZE, WIDTH), nn.LSTMCell(2 * WIDTH, WIDTH), nn.Linear(2 * WIDTH, SIZE)
        self.q, self.k, self.v = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1, bias=False)

    def forward(self, token, state, memory, mask):
        scores = self.v(torch.tanh(self.q(state[0])[:, None] + self.k(memory)))[..., 0]
        weights = torch.softmax(scores.masked_fill(mask == 0, float("-inf")), -1)
        seen = torch.bmm(weights[:, None], memory)[:, 0]
        state = self.cell(torch.cat([self.words(token), seen], -1), state)
        return {"scores": self.out(torch.cat([state[0], seen], -1)), "state": state, "attention": weights}


class Multiplicative(nn.Module):
    """Luong et al. 2015: dot, general or concat, with the last attentional state fed back."""

    def __init__(self, score="general"):
        super().__init__()
        self.words, self.cell = nn.Embedding(SIZE, WIDTH), nn.GRU(2 * WIDTH, WIDTH, batch_first=True)
        self.mix, self.out, self.score = nn.Linear(2 * WIDTH, WIDTH), nn.Linear(WIDTH, SIZE), score
        self.general = nn.Linear(WIDTH, WIDTH, bias=False)
        self.both, self.v = nn.Linear(2 * WIDTH, WIDTH), nn.Linear(WIDTH, 1, bias=False)

    def scores(self, h, memory):
        if self.score == "concat":
            pairs = torch.cat([h[:, None].expand(-1, memory.shape[1], -1), memory], -1)
            return self.v(torch.tanh(self.both(pairs)))[..., 0]
        keys = self.general(memory) if self.score == "general" else memory
        return torch.bmm(keys, h[..., None])[..., 0]

    def forward(self, token, state, fed, memory, mask):
        out, state = self.cell(torch.cat([self.words(token), fed], -1)[:, None], state[None])
        h, state = out[:, 0], state[0]
        weights = torch.softmax(self.scores(h, memory).masked_fill(mask == 0, -1e9), -1)
        fed = torch.tanh(self.mix(torch.cat([h, torch.bmm(weights[:, None], memory)[:, 0]], -1)))
        return {"logits": self.out(fed), "state": state, "fed": fed, "attention": weights}


class Feeding(nn.Module):
    """An encoder whose first attentional state is its last state."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, ids, mask):
        found = self.encoder(ids, mask)
        return {**found, "fed": found["state"]}


class Stacked(nn.Module):
    """A step of two LSTM layers, whose states lie (layers, rows, width), without attention."""

    def __init__(self):
        super().__init__()
        self.words, self.read, self.out = nn.Embedding(SIZE, WIDTH), nn.LSTM(WIDTH, WIDTH, 2, batch_first=True), nn.Linear(WIDTH, SIZE)

    def forward(self, token, state):
        out, state = self.read(self.words(token)[:, None], state)
        return {"scores": torch.log_softmax(self.out(out[:, 0]), -1), "state": state}


class Layers(nn.Module):
    """The last states of two layers as they come."""

    def __init__(self):
        super().__init__()
        self.words, self.read = nn.Embedding(SIZE, WIDTH), nn.LSTM(WIDTH, WIDTH, 2, batch_first=True)

    def forward(self, ids, mask):
        _, state = self.read(pack_padded_sequence(self.words(ids), mask.sum(1).cpu(), batch_first=True, enforce_sorted=False))
        return {"state": state}


def made(encoder, step, larger=LARGER, **declared):
    for weight in (*encoder.parameters(), *step.parameters()):
        weight.data.mul_(larger)
    return Seq2Seq(encoder, step, **{"start_token": 1, "end_token": 2, "source": SOURCE, "target": TARGET, "max_new_tokens": 16, **declared})


def additive():
    return made(Encoder(), Additive())


def dot():
    return made(Feeding(Encoder(nn.GRU, 1)), Multiplicative("dot"))


def general():
    # 2.5 times as large, the states go apart from step to step: PyTorch with weights rounded in blocks of 32 to 8 bits is 0.12 off after twelve.
    return made(Feeding(Encoder(nn.RNN, 1, sides=1)), Multiplicative("general"), larger=1.8)


def swaying():
    # Rounding its weights to half moves PyTorch's scores by 0.066.
    return made(Feeding(Encoder(nn.RNN, 1, sides=1)), Multiplicative("general"), larger=14)


def concat():
    return made(Feeding(Encoder(nn.GRU, 1)), Multiplicative("concat"), source=None, target=None)


def unpacked():
    return made(Feeding(Encoder(nn.GRU, 1, packed=False)), Multiplicative("general"))


def stacked():
    return made(Layers(), Stacked(), num_beams=2, length_penalty=0.6)
