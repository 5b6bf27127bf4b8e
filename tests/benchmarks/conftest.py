"""A fake engine as a contestant."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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
