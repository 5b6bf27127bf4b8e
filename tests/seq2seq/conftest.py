"""Translators of one's own as bundles, each made once."""

from __future__ import annotations

from pathlib import Path

import pytest

import zen_edge

TRANSLATORS = Path(__file__).with_name("translators.py")


@pytest.fixture(scope="session")
def factory():
    """factory("additive"): the name of one of the factories of translators.py."""
    return lambda name: f"{TRANSLATORS}:{name}"


@pytest.fixture(scope="session")
def additive(tmp_path_factory: pytest.TempPathFactory, factory) -> Path:
    return zen_edge.export(factory("additive"), tmp_path_factory.mktemp("seq2seq") / "additive").path


@pytest.fixture(scope="session")
def own(factory):
    from zen_edge.exporters import find_own

    return find_own(factory("additive"))
