"""zen-edge attend: what it writes, and what it refuses in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

LINE = "library of tools for reading text files"


def test_a_picture_and_a_page(zen, demo_attention, tmp_path: Path):
    for name, begins in (("map.png", b"\x89PNG"), ("map.HTML", b"<!doctype html>")):
        done = zen("attend", demo_attention, LINE, "-o", tmp_path / name, "--threads", 1)
        assert (done.exit_code, done.stdout) == (0, "")
        assert done.stderr == f"{tmp_path / name}: bibliothèque d'outils pour lire les fichiers texte\n"
        assert (tmp_path / name).read_bytes().startswith(begins)
    chosen = zen(
        "attend", demo_attention, LINE, "-o", tmp_path / "one.png", "--kind", "encoder", "--layer", 2, "--head", 0, "--option", "num_beams=2"
    )
    assert chosen.exit_code == 0
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "map.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.HTML", "map.png", "one.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([LINE, "another", "-o", "map.png"], "attend draws one input, and 2 are given"),
        ([LINE, "-o", "map.svg"], "a map is written as .png or .html, not 'map.svg'"),
        ([LINE, "-o", "missing/map.png"], "its folder does not exist"),
        ([" ", "-o", "map.png"], "a blank text has nothing to attend to"),
        ([LINE, "-o", "map.png", "--kind", "self"], "kind 'self' is not among the attention of this model: cross, decoder, encoder"),
        ([LINE, "-o", "map.html", "--layer", "9"], "layer 9 is not there: cross has layers 0 to 1"),
        ([LINE, "-o", "map.png", "--option", "num_beamz=2"], "num_beamz"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_refused(zen, demo_attention, tmp_path: Path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = zen("attend", demo_attention, *arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_bundle_without_the_weights(zen, demo_fp32, tmp_path: Path):
    done = zen("attend", demo_fp32, LINE, "-o", tmp_path / "map.png")
    assert (done.exit_code, done.stderr) == (
        1,
        "zen-edge: this bundle does not keep the weights of attention: export it again with --with-attention.\n",
    )


def test_without_matplotlib(zen, demo_attention, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = zen("attend", demo_attention, LINE, "-o", tmp_path / "map.png")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert 'pip install "zen-edge[plot]"' in done.stderr
    assert zen("attend", demo_attention, LINE, "-o", tmp_path / "map.html").exit_code == 0
