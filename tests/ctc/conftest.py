"""Tiny CTC checkpoints with random weights that say different letters, exported once."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoFeatureExtractor, AutoTokenizer

from zen_edge import check
from zen_edge.benchmarks.tiny_speech import write_tiny_ctc
from zen_edge.bundle import Bundle
from zen_edge.exporters import export

LAYER = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}  # of the models that padded batches do not change


@dataclass(frozen=True)
class Exported:
    checkpoint: Path
    model: Any
    tokenizer: Any
    extractor: Any
    bundle: Bundle


@pytest.fixture(scope="session")
def export_ctc(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Exported]:
    """export_ctc(model_type, precision, **config): checked against PyTorch on the way; each once."""
    made: dict[str, Exported] = {}

    def make(model_type: str, precision: str = "fp32", **changes: Any) -> Exported:
        key = f"{model_type} {precision} {changes}"
        if key not in made:
            folder = tmp_path_factory.mktemp(model_type)
            model = write_tiny_ctc(folder / "checkpoint", model_type, **changes)
            bundle = export(folder / "checkpoint", folder / "bundle", precision=precision, verify=check.verify)
            tokenizer, extractor = (kind.from_pretrained(folder / "checkpoint") for kind in (AutoTokenizer, AutoFeatureExtractor))
            made[key] = Exported(folder / "checkpoint", model, tokenizer, extractor, bundle)
        return made[key]

    return make


@pytest.fixture(scope="session")
def wav2vec2(export_ctc) -> Exported:
    return export_ctc("wav2vec2", **LAYER)


@pytest.fixture(scope="session")
def noise() -> Callable[[float, int], np.ndarray]:
    """noise(seconds, seed): what random models say the most of."""

    def make(seconds: float, seed: int = 0) -> np.ndarray:
        return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * 16000))).astype(np.float32)

    return make
