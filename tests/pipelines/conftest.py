"""The shipped model's bundles as pipelines, and the same model in transformers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zen_edge
from zen_edge.exporters.checkpoint import load_checkpoint
from zen_edge.runtimes.pipelines.text_to_text import TextToText


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads cost more than they bring at these sizes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


Rows = list[list[tuple[tuple[int, ...], float]]]


@pytest.fixture(scope="session")
def lines() -> list[str]:
    """655 lines of up to 18 words."""
    path = Path(__file__).parents[1] / "data" / "descriptions.test.en-fr.jsonl"
    return [json.loads(line)["source"] for line in path.read_text("utf-8").splitlines()]


@pytest.fixture(scope="session")
def pipeline(demo_fp32: Path) -> Iterator[TextToText]:
    with zen_edge.load(demo_fp32, threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def int8(demo_int8: Path) -> Iterator[TextToText]:
    with zen_edge.load(demo_int8, threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def of_transformers(demo_checkpoint: Path) -> Callable[..., Rows]:
    """of_transformers(lines, **options): per line the (tokens, score) of each sequence that `model.generate` returns for one padded batch."""
    checkpoint = load_checkpoint(demo_checkpoint)

    def generate(batch: list[str], **options: Any) -> Rows:
        encoded = checkpoint.tokenizer(batch, return_tensors="pt", padding=True)
        with torch.no_grad():
            out = checkpoint.model.generate(**encoded, return_dict_in_generate=True, output_scores=True, **options)
        rows = []
        for i, row in enumerate(out.sequences[:, 1:].tolist()):
            tokens = tuple(row[: row.index(0) + 1] if 0 in row else row)
            if "sequences_scores" in out:
                score = out.sequences_scores[i].item()
            else:
                score = float(np.mean([out.scores[step][i].log_softmax(-1)[token].item() for step, token in enumerate(tokens)]))
            rows.append((tokens, score))
        count = options.get("num_return_sequences", 1)
        return [rows[at : at + count] for at in range(0, len(rows), count)]

    return generate
