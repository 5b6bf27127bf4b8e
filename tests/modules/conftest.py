"""A module of one's own as a bundle, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

import zen_edge

LAYERS = Path(__file__).with_name("own_layers.py")


@pytest.fixture(scope="session")
def factory():
    """factory("heads"): the name of one of the factories of own_layers.py."""
    return lambda name: f"{LAYERS}:{name}"


@pytest.fixture(scope="session")
def heads_bundle(tmp_path_factory: pytest.TempPathFactory, factory) -> Path:
    out = tmp_path_factory.mktemp("module") / "heads"
    zen_edge.export(factory("heads"), out)
    return out
