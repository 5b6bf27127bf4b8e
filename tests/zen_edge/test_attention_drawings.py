"""Maps of attention as a picture and as a page. What the page does is in tests/browser."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import matplotlib.image
import numpy as np
import pytest

from zen_edge import attention_picture
from zen_edge.attention_map import Shown
from zen_edge.attention_page import page
from zen_edge.attention_picture import picture
from zen_edge.errors import InputError, OptionError


class _Reader(HTMLParser):
    """The tags of a page, and what stands in its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: dict[str, str] = {}
        self.open = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open = dict(attributes).get("id") or tag

    def handle_data(self, data: str) -> None:
        self.texts[self.open] = self.texts.get(self.open, "") + data


def read(html: str) -> _Reader:
    reader = _Reader()
    reader.feed(html)
    return reader


def test_a_page_holds_all_weights(odd_map):
    data = json.loads(read(page(odd_map)).texts["data"])
    assert list(data["kinds"]) == ["cross", "decoder", "encoder"]
    for kind, weights in odd_map.weights.items():
        held = data["kinds"][kind]
        found = np.frombuffer(base64.b64decode(held["weights"]), "<u2").reshape(weights.shape) / 65535
        assert np.abs(found - weights).max() < 1e-5
        assert (held["layers"], held["heads"]) == weights.shape[:2]
        assert (len(held["rows"]), len(held["columns"])) == weights.shape[2:]
    assert "<script>alert(1)</script>" in data["kinds"]["cross"]["columns"]
    assert data["first"] == {"kind": None, "layer": None, "head": None}


def test_a_page_needs_nothing_else_and_takes_no_word_for_markup(odd_map):
    html = page(odd_map, "decoder", 1)
    found = read(html)
    assert found.tags.count("script") == 2
    assert "b" not in found.tags
    assert found.texts["bdi"].strip() == odd_map.text
    assert not re.search(r"https?:|//\w|@import|url\(", html)
    assert "default-src 'none'" in html
    assert json.loads(found.texts["data"])["first"] == {"kind": "decoder", "layer": 1, "head": None}


def test_what_a_page_refuses(odd_map):
    with pytest.raises(OptionError, match="layer 7 is not there"):
        page(odd_map, "cross", 7)
    large = replace(odd_map, weights={"cross": np.broadcast_to(np.float32(0), (24, 16, 512, 512))})
    with pytest.raises(InputError, match=r"268 MB: shorten the input, or draw one map as \.png"):
        page(large)
    both = replace(large, weights={"encoder": large.weights["cross"], "cross": odd_map.weights["cross"]})
    assert list(json.loads(read(page(both)).texts["data"])["kinds"]) == ["cross"]
    with pytest.raises(InputError, match="its encoder weights would have 268 MB"):
        page(both, "encoder")


def test_a_picture_of_the_weights():
    """Two rows, two columns: the dark fields stand where the weights are."""
    for weights in (np.eye(2), np.eye(2)[::-1]):
        drawn, missing = picture(Shown("title", ("a", "b"), ("c", "d"), weights.astype(np.float32)))
        assert not missing
        image = matplotlib.image.imread(io.BytesIO(drawn))[..., :3].mean(-1)
        dark = np.argwhere((image > 0.2) & (image < 0.35))  # the darkest blue
        top = dark[dark[:, 0] < np.median(dark[:, 0])]
        left = top[:, 1].mean() < dark[:, 1].mean()
        assert left == bool(weights[0, 0])


def test_labels_do_not_touch(odd_map, monkeypatch):
    """However many and however long they are: measured where they were drawn."""
    from matplotlib.figure import Figure

    boxes: list[list[tuple[float, float]]] = []

    def measured(figure: Figure, *args: object, **kwargs: object) -> None:
        figure.draw_without_rendering()
        axes = figure.axes[0]
        for labels, low, high in ((axes.get_xticklabels(), "x0", "x1"), (axes.get_yticklabels(), "y0", "y1")):
            found = [label.get_window_extent() for label in labels]
            boxes.append(sorted((getattr(box, low), getattr(box, high)) for box in found))
            width, height = figure.bbox.size
            assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height - 20 for box in found)

    monkeypatch.setattr(Figure, "savefig", measured)
    tokens = [f"▁word{i}" for i in range(58)] + ["▁Donaudampfschifffahrtsgesellschaft", "</s>"]
    for rows, columns in ((tokens, tokens), (tokens * 3, tokens[-2:]), (odd_map.target, odd_map.source)):
        weights = np.random.default_rng(0).dirichlet(np.ones(len(columns)), len(rows)).astype(np.float32)
        picture(Shown("title", tuple(rows), tuple(columns), weights))
    seconds = [f"{frame / 50:.2f}" for frame in range(1500)]
    picture(Shown("title", tuple(tokens), tuple(seconds), np.zeros((len(tokens), 1500), np.float32)))
    assert 90 < len(boxes[-2]) < 110  # of the seconds some
    assert len(boxes) == 8
    for side in boxes:
        assert all(before[1] <= after[0] + 0.5 for before, after in pairwise(side))


def test_characters_that_no_font_has(monkeypatch):
    """Written as their numbers, and told."""
    shown = Shown("title", ("▁\U000e0041x", "b"), ("c",), np.ones((2, 1), np.float32))
    labels: list[str] = []
    kept = attention_picture._label
    monkeypatch.setattr(attention_picture, "_label", lambda token, missing: labels.append(kept(token, missing)) or labels[-1])
    monkeypatch.setattr("matplotlib.font_manager.fontManager.ttflist", [])
    _, missing = picture(Shown("title", ("▁你好", "b"), ("c",), np.ones((2, 1), np.float32)))
    assert missing == "你好"
    assert labels == ["▁\\u4f60\\u597d", "b", "c"]
    assert picture(shown)[1] == ""  # what cannot be printed is written as its number anyway
