"""Tiny Moonshine and Speech2Text checkpoints with random weights that say different words, exported once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoTokenizer

import zen_edge
from zen_edge.benchmarks.tiny_utterances import write_tiny_utterances
from zen_edge.bundle import Bundle
from zen_edge.exporters.checkpoint import load_checkpoint
from zen_edge.sounds import voice

RATE = 16000
SECONDS = (2.0, 0.7, 3.3, 2.0)  # of recordings that are heard side by side


@dataclass(frozen=True)
class Exported:
    checkpoint: Path
    model: Any
    tokenizer: Any
    extractor: Any
    bundle: Bundle
    pipeline: Any

    def theirs(self, audio: np.ndarray | list[np.ndarray], **options: Any) -> list[tuple[int, ...]]:
        """What `generate` gives after the decoder's start, to the end token."""
        inputs = self.extractor(audio, sampling_rate=RATE, return_tensors="pt", padding=True)
        with torch.no_grad():
            rows = self.model.generate(**inputs, **options)[:, 1:].tolist()
        end = self.model.generation_config.eos_token_id
        return [tuple(row[: row.index(end) + 1] if end in row else row) for row in rows]


@pytest.fixture(scope="session")
def export_utterances(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Exported]]:
    """export_utterances(model_type, precision, **options of the checkpoint): checked against PyTorch on the way; each once."""
    made: dict[str, Exported] = {}

    def make(model_type: str, precision: str = "fp32", **options: Any) -> Exported:
        key = f"{model_type} {precision} {options}"
        if key not in made:
            folder = tmp_path_factory.mktemp(model_type)
            write_tiny_utterances(folder / "checkpoint", model_type, **options)
            bundle = zen_edge.export(folder / "checkpoint", folder / "bundle", precision=precision)
            tokenizer, extractor = (kind.from_pretrained(folder / "checkpoint") for kind in (AutoTokenizer, AutoFeatureExtractor))
            model = load_checkpoint(folder / "checkpoint").model
            made[key] = Exported(folder / "checkpoint", model, tokenizer, extractor, bundle, zen_edge.load(bundle.path, threads=1))
        return made[key]

    yield make
    for one in made.values():
        one.pipeline.close()


@pytest.fixture(scope="session")
def moonshine(export_utterances: Callable[..., Exported]) -> Exported:
    return export_utterances("moonshine")


@pytest.fixture(scope="session")
def translator(export_utterances: Callable[..., Exported]) -> Exported:
    """A Speech2Text that is told a language."""
    return export_utterances("speech_to_text", languages=True)


@pytest.fixture(scope="session")
def sounds() -> list[np.ndarray]:
    return [voice(round(seconds * RATE), RATE, seed) for seed, seconds in enumerate(SECONDS)]
