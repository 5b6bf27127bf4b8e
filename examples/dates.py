"""A worked example: attention of one's own, trained, exported, checked, quantized, and run without PyTorch.

    python examples/dates.py OUT [--seconds 60]

A small encoder of characters and a decoder that looks at them through the attention of the textbook, softmax(Q K^T / sqrt(d_k)) V, learn to write dates such as
"3 may 2021" as "2021-05-03". Encoder and decoder step become two bundles; `translate` is all that runs on the edge, and needs numpy and zen-edge alone.
"""

import argparse
import math
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

MONTHS = ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"]
LETTERS = "\0\1\2 -,0123456789abcdefghijklmnopqrstuvwxyz"  # padding, start and end before what is written
START, END, LONGEST, WIDTH = 1, 2, 12, 64


def pair(draw: random.Random) -> tuple[str, str]:
    """A date as people write it, and as machines do."""
    day, month, year = draw.randint(1, 28), draw.randint(1, 12), draw.randint(1900, 2099)
    name = MONTHS[month - 1][: draw.choice((3, 9))]
    written = draw.choice((f"{day} {name} {year}", f"{name} {day}, {year}", f"{year} {name} {day}"))
    return written, f"{year}-{month:02}-{day:02}"


def encoded(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(B,T) ids, the end marked, and the mask of what is no padding."""
    width = max(map(len, texts)) + 1
    ids = np.array([[*map(LETTERS.index, text), END, *[0] * (width - len(text) - 1)] for text in texts], np.int64)
    return ids, (ids != 0).astype(np.int64)


def translate(encoder, step, texts: list[str]) -> list[str]:
    """Greedy decoding with two bundles."""
    ids, mask = encoded(texts)
    start = encoder(ids=ids, mask=mask)
    state, token, found = start["state"], np.full(len(texts), START), []
    for _ in range(LONGEST):
        answer = step(token=token, state=state, memory=start["memory"], mask=mask)
        state, token = answer["state"], answer["logits"].argmax(-1)
        found.append(token)
    return ["".join(LETTERS[i] for i in row).partition(LETTERS[END])[0] for row in np.stack(found, 1)]


def modules():
    """The encoder and the decoder's step; here PyTorch begins."""
    import torch
    from torch import nn

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.letters, self.read = nn.Embedding(len(LETTERS), WIDTH), nn.GRU(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)
            self.first = nn.Linear(WIDTH, WIDTH)

        def forward(self, ids, mask):
            memory, _ = self.read(self.letters(ids) * mask[..., None])
            return {"memory": memory, "state": torch.tanh(self.first((memory * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)))}

    class Attention(nn.Module):
        """query (B,S,D), key and value (B,T,D), mask (B,T) -> (B,S,D)"""

        def __init__(self, width):
            super().__init__()
            self.q, self.k, self.v, self.d_k = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width), width

        def forward(self, query, key, value, mask):
            Q, K, V = self.q(query), self.k(key), self.v(value)
            scores = torch.matmul(Q, K.transpose(-2, -1)) / math.sqrt(self.d_k)
            weights = torch.softmax(scores.masked_fill(mask[:, None] == 0, float("-inf")), dim=-1)
            return torch.matmul(weights, V)

    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.letters, self.cell, self.attention = nn.Embedding(len(LETTERS), WIDTH), nn.GRUCell(WIDTH, WIDTH), Attention(WIDTH)
            self.words = nn.Linear(2 * WIDTH, len(LETTERS))

        def forward(self, token, state, memory, mask):
            state = self.cell(self.letters(token), state)
            seen = self.attention(state[:, None], memory, memory, mask)[:, 0]
            return {"logits": self.words(torch.cat([state, seen], -1)), "state": state}

    return Encoder(), Step()


def train(encoder, step, seconds: float) -> float:
    """Teacher forcing for so long; returns the last loss."""
    import torch

    draw, weights = random.Random(0), [*encoder.parameters(), *step.parameters()]
    optimizer, end, loss = torch.optim.Adam(weights, 3e-3), time.monotonic() + seconds, torch.tensor(float("nan"))
    while time.monotonic() < end:
        sources, targets = zip(*(pair(draw) for _ in range(64)), strict=True)
        ids, mask = map(torch.from_numpy, encoded(list(sources)))
        wanted, start = torch.from_numpy(encoded(list(targets))[0]), encoder(ids, mask)
        state, token, scores = start["state"], torch.full((len(ids),), START), []
        for position in range(wanted.shape[1]):
            answer = step(token, state, start["memory"], mask)
            state, token = answer["state"], wanted[:, position]
            scores.append(answer["logits"])
        loss = torch.nn.functional.cross_entropy(torch.stack(scores, 1).flatten(0, 1), wanted.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    return float(loss.detach())


def export(encoder, step, out: Path) -> None:
    """Both as bundles, each in fp32 and int8, compared with PyTorch."""
    import torch

    import zen_edge

    ids, mask = map(torch.from_numpy, encoded(["3 may 2021", "february 14, 1999"]))
    with torch.no_grad():
        start = encoder(ids, mask)
    inputs = {
        "encoder": (encoder, {"ids": ids, "mask": mask}),
        "step": (step, {"token": torch.full((2,), START), "state": start["state"], "memory": start["memory"], "mask": mask}),
    }
    for name, (module, example) in inputs.items():
        for precision in ("fp32", "int8"):
            folder = out / f"{name}-{precision}"
            zen_edge.export(module, folder, example_inputs=example, precision=precision)
            report = zen_edge.parity(folder, module, inputs=example)
            worst = max(row.max_rel for row in report.outputs)
            print(f"{folder.name}: parity {'holds' if report.passed else 'does not hold'}, largest relative difference {worst:.1e}")


def right(out: Path, precision: str, count: int = 200) -> float:
    """The share of dates that the bundles write as they should; imports no PyTorch."""
    import zen_edge

    draw = random.Random(1)
    sources, targets = zip(*(pair(draw) for _ in range(count)), strict=True)
    with zen_edge.load(out / f"encoder-{precision}") as encoder, zen_edge.load(out / f"step-{precision}") as step:
        found = translate(encoder, step, list(sources))
    assert "torch" not in sys.modules
    return sum(map(str.__eq__, found, targets)) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=60, help="of training")
    parser.add_argument("--run", action="store_true", help="only run the bundles that are there already, without PyTorch")
    given = parser.parse_args()
    if given.run:
        for precision in ("fp32", "int8"):
            print(f"{precision}: {right(given.out, precision):.0%} of the dates are right")
        return
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)  # the products are small
    encoder, step = modules()
    print(f"trained for {given.seconds:g} s, loss {train(encoder, step, given.seconds):.3f}")
    given.out.mkdir(parents=True, exist_ok=True)
    export(encoder, step, given.out)
    subprocess.run([sys.executable, __file__, str(given.out), "--run"], check=True)  # a process that has no PyTorch in it


if __name__ == "__main__":
    main()
