"""Tiny encoders with random weights, and bundles of them made once per run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zen_edge.benchmarks.tiny_encoders import write_tiny_encoder

Checkpoints = Callable[..., Path]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    """checkpoint("bert", "text-classification", **config changes): the folder, made once."""
    made: dict[str, Path] = {}

    def make(model_type: str, task: str, tokenizer: Any = None, **changes: Any) -> Path:
        key = f"{model_type}-{task}-{sorted(changes.items())!r}-{id(tokenizer)}"
        if key not in made:
            made[key] = tmp_path_factory.mktemp("encoder") / model_type
            write_tiny_encoder(made[key], model_type, task, tokenizer, **changes)
        return made[key]

    return make


@pytest.fixture(scope="session")
def bundle(checkpoint: Checkpoints, tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    """bundle("bert", "text-classification", ...): an fp32 export of that checkpoint, made once and not verified."""
    from zen_edge.exporters import export

    made: dict[Path, Path] = {}

    def make(model_type: str, task: str, tokenizer: Any = None, **changes: Any) -> Path:
        source = checkpoint(model_type, task, tokenizer, **changes)
        if source not in made:
            made[source] = export(source, tmp_path_factory.mktemp("bundle") / "out").path
        return made[source]

    return make
