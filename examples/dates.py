"""A worked example: attention of one's own, trained, exported, checked, quantized, and run without PyTorch.

    python examples/dates.py OUT [--seconds 60]

A small encoder of characters and a decoder that looks at them through the attention of the textbook, softmax(Q K^T / sqrt(d_k)) V, learn to write dates such as
"3 may 2021" as "2021-05-03". Both become one bundle that decodes; `right` is all that runs on the edge, and needs numpy and zen-edge alone.
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


def modules():
    """The encoder and the decoder's step; here PyTorch begins."""
    import torch
    from torch import nn
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.letters, self.read = nn.Embedding(len(LETTERS), WIDTH), nn.GRU(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)
            self.first = nn.Linear(WIDTH, WIDTH)

        def forward(self, ids, mask):
            lengths = mask.sum(1)
            memory, _ = self.read(pack_padded_sequence(self.letters(ids), lengths.cpu(), batch_first=True, enforce_sorted=False))
            memory, _ = pad_packed_sequence(memory, batch_first=True, total_length=ids.shape[1])
            return {"memory": memory, "state": torch.tanh(self.first(memory.sum(1) / lengths[:, None]))}

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
            return {"scores": self.words(torch.cat([state, seen], -1)), "state": state}

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
            scores.append(answer["scores"])
        loss = torch.nn.functional.cross_entropy(torch.stack(scores, 1).flatten(0, 1), wanted.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    return float(loss.detach())


def translator(encoder, step):
    """What is exported: the modules and their words."""
    from zen_edge.exporters import Seq2Seq, Vocabulary

    words = Vocabulary(LETTERS, unit="characters", lowercase=True)
    return Seq2Seq(encoder, step, start_token=START, end_token=END, source=words, after=(END,), examples=held_out(8)[0], max_new_tokens=LONGEST)


def held_out(count: int) -> tuple[list[str], list[str]]:
    """Dates drawn by themselves, and what should be written."""
    draw = random.Random(1)
    sources, targets = zip(*(pair(draw) for _ in range(count)), strict=True)
    return list(sources), list(targets)


def export(translator, out: Path) -> None:
    """The bundle in fp32 and int8, both compared with PyTorch, their attention included."""
    import zen_edge

    folders = {precision: out / f"dates-{precision}" for precision in ("fp32", "int8")}
    zen_edge.export(translator, folders["fp32"], with_attention=True)
    zen_edge.quantize(folders["fp32"], folders["int8"], precision="int8")
    for folder in folders.values():
        report = zen_edge.parity(folder, translator, inputs=held_out(8)[0])
        worst, same = max(row.max_rel for row in report.outputs), report.tokens
        print(
            f"{folder.name}: parity {'holds' if report.passed else 'does not hold'}, largest relative difference {worst:.1e}, {same.identical} of {same.total} texts the same"
        )


def of_pytorch(translator, texts: list[str]) -> list[str]:
    """What the modules themselves write, one text at a time."""
    from zen_edge.exporters import find_own
    from zen_edge.exporters.reference_seq2seq import Seq2SeqReference

    reference = Seq2SeqReference(find_own(translator))
    rows = [np.array([reference.encode(text)]) for text in texts]
    return [reference.decode(reference.generate(row, np.ones_like(row), 1, None)[0]) for row in rows]


def export_layer(encoder, step, text: str, out: Path) -> None:
    """The attention layer alone as a bundle of its own, and what it reads of `text` at first as arrays beside it."""
    import torch

    import zen_edge

    ids, mask = map(torch.from_numpy, encoded([text.lower()]))
    with torch.no_grad():
        read = encoder(ids, mask)
        first = step.cell(step.letters(torch.tensor([START])), read["state"])
    arrays = {"query": first[:, None], "key": read["memory"], "value": read["memory"], "mask": mask}
    zen_edge.export(step.attention, out / "layer", example_inputs=arrays, with_attention=True)
    np.savez(out / "layer.npz", **{name: value.numpy() for name, value in arrays.items()})


def draw(out: Path, text: str) -> None:
    """What the layer and the translator attend to, as `zen-edge attend` draws it; imports no PyTorch."""
    layer, dates = (out / "layer", out / "layer.npz"), (out / "dates-int8", text)
    for (bundle, given), name in ((layer, "layer.png"), (dates, "attention.png"), (dates, "attention.html")):
        subprocess.run([sys.executable, "-m", "zen_edge", "attend", bundle, given, "-o", out / name], check=True)


def right(out: Path, precision: str, count: int = 200) -> float:
    """The share of held-out dates that the bundle writes as it should; imports no PyTorch."""
    import zen_edge

    sources, targets = held_out(count)
    with zen_edge.load(out / f"dates-{precision}") as pipeline:
        found = pipeline(sources)
    assert "torch" not in sys.modules
    return share(found, targets)


def share(found: list[str], targets: list[str]) -> float:
    return sum(map(str.__eq__, found, targets)) / len(targets)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=60, help="of training")
    parser.add_argument("--run", action="store_true", help="only run the bundles that are there, without PyTorch")
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
    made, (sources, targets) = translator(encoder, step), held_out(200)
    print(f"PyTorch: {share(of_pytorch(made, sources), targets):.0%} of the dates are right")
    export(made, given.out)
    export_layer(encoder, step, sources[0], given.out)
    draw(given.out, sources[0])
    subprocess.run([sys.executable, __file__, str(given.out), "--run"], check=True)  # a process that has no PyTorch in it


if __name__ == "__main__":
    main()
