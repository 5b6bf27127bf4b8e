"""A tiny Whisper with random weights as a bundle, and in transformers."""

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
from zen_edge.benchmarks.tiny_whisper import write_tiny_whisper
from zen_edge.exporters import export
from zen_edge.runtimes.pipelines.transcription import Pipeline
from zen_edge.sounds import voice

RATE = 16000


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Theirs:
    """A checkpoint in transformers."""

    model: Any
    tokenizer: Any
    extractor: Any

    def features(self, audio: np.ndarray, *, long: bool = False) -> Any:
        how: dict[str, Any] = {"truncation": False, "padding": "longest"} if long else {}
        return self.extractor(audio, sampling_rate=RATE, return_tensors="pt", return_attention_mask=True, **how)

    def generate(self, audio: np.ndarray, *, long: bool = False, **options: Any) -> list[int]:
        """The tokens after the prompt, without the end token, as `generate` gives them."""
        with torch.no_grad():
            row = self.model.generate(self.features(audio, long=long).input_features, **options)[0].tolist()
        return without_end(row, self.model.generation_config.eos_token_id)


def without_end(tokens: Any, end: int) -> list[int]:
    row = list(tokens)
    while row and row[-1] == end:
        row.pop()
    return row


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whisper") / "tiny"
    write_tiny_whisper(folder)
    return folder


@pytest.fixture(scope="session")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "whisper"
    export(checkpoint, out)
    return out


@pytest.fixture(scope="session")
def pipeline(bundle: Path) -> Iterator[Pipeline]:
    with zen_edge.load(bundle, threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def theirs(checkpoint: Path) -> Theirs:
    from zen_edge.exporters.checkpoint import load_checkpoint

    return Theirs(load_checkpoint(checkpoint).model, AutoTokenizer.from_pretrained(checkpoint), AutoFeatureExtractor.from_pretrained(checkpoint))


@pytest.fixture(scope="session")
def sounds() -> Callable[[float, int], np.ndarray]:
    """sounds(seconds, seed): something like a voice."""
    return lambda seconds, seed=0: voice(round(seconds * RATE), RATE, seed)


@pytest.fixture(scope="session")
def whisper_base(real_checkpoint: Callable[[str], Path]) -> Path:
    """A trained Whisper-base, with ten seconds of English."""
    return real_checkpoint("whisper-base")


@pytest.fixture(scope="session")
def whisper_bundles(whisper_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By precision."""
    out = tmp_path_factory.mktemp("whisper-base")
    return {precision: export(whisper_base, out / precision, precision=precision).path for precision in ("fp32", "int8")}


@pytest.fixture(scope="session")
def trained(whisper_base: Path) -> Theirs:
    from zen_edge.exporters.checkpoint import load_checkpoint

    return Theirs(
        load_checkpoint(whisper_base).model, AutoTokenizer.from_pretrained(whisper_base), AutoFeatureExtractor.from_pretrained(whisper_base)
    )
