"""A fake engine as a contestant, and small checkpoints of the shapes that are measured."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from zen_edge.benchmarks import make_checkpoint
from zen_edge.benchmarks.contestants import Contestant
from zen_edge.benchmarks.engines import Engine

FILE = Path(__file__).with_name("fake_engine.py")


@pytest.fixture
def fake_engine() -> Engine:
    return Engine("fake", FILE, ("good", "broken"), ("numpy",), "pip install numpy", (), converts=True)


@pytest.fixture
def fake(fake_engine: Engine, tmp_path: Path) -> Callable[[str], Contestant]:
    """fake(behaviour) -> a contestant that behaves so."""
    return lambda behaviour: Contestant(f"fake {behaviour}", fake_engine, behaviour, tmp_path, Path(sys.executable))


SMALL: dict[str, dict[str, int]] = {
    "marian-74m": {},
    "bart-base": {"vocab_size": 1000},
    "t5-base": {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4},
}
SIZES = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 64}
HEADS = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """small_checkpoint(shape) -> the folder of a checkpoint as `make_checkpoint` writes it, with fewer and narrower layers."""

    @cache
    def make(name: str) -> Path:
        shape = make_checkpoint.SHAPES[name]
        sizes = shape.sizes | (SMALL[name] if name == "t5-base" else SIZES | HEADS | SMALL[name])
        folder = tmp_path_factory.mktemp("small") / name
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(make_checkpoint.SHAPES, name, replace(shape, sizes=sizes))
            make_checkpoint.write(folder, name)
        return folder

    return make
