"""The page of `zen-edge attend` in a real browser."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zen_edge.attention_map import AttentionMap
from zen_edge.attention_page import page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=os.environ.get("ZEN_EDGE_BROWSER"), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """show(html, scheme): the page, opened from a file. At the end: nothing was asked of a network, said or raised."""
    asked, said = [], []

    def open_page(html: str, scheme: str = "light") -> Any:
        file = tmp_path / "map.html"
        file.write_text(html, encoding="utf-8")
        opened = browser.new_page(color_scheme=scheme, viewport={"width": 900, "height": 700})
        opened.on("request", lambda request: asked.append(request.url))
        for event in ("pageerror", "dialog"):
            opened.on(event, lambda *_, event=event: said.append(event))
        opened.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        opened.goto(file.as_uri())
        return opened

    yield open_page
    assert len(asked) == 1
    assert not said


def pixel(opened: Any, row: int, column: int) -> list[int]:
    """Red, green, blue and how opaque, in the middle of a weight of the map."""
    return list(
        opened.evaluate(
            """([row, column]) => { const canvas = document.querySelector("canvas"), labels = document.querySelectorAll(".side div").length;
            const cell = canvas.height / labels; return [...canvas.getContext("2d").getImageData((column + 0.5) * cell, (row + 0.5) * cell, 1, 1).data]; }""",
            [row, column],
        )
    )


def labels(opened: Any, place: str) -> list[str]:
    return list(opened.eval_on_selector_all(f".{place} bdi", "found => found.map(each => each.textContent)"))


def test_the_map_is_the_weights(show, odd_map):
    opened = show(page(odd_map))
    weights = odd_map.chosen().weights
    assert labels(opened, "side") == ["a\\nb" if token == "a\nb" else token for token in odd_map.target]
    assert labels(opened, "top") == [token.replace("\u202e", "\\u202e") for token in odd_map.source]
    for row in range(len(odd_map.target)):
        for column in range(len(odd_map.source)):
            assert abs(pixel(opened, row, column)[3] / 255 - weights[row, column] / weights.max()) < 0.01
    assert opened.inner_text("#told") == f"target to source; the largest weight is {weights.max():.3f}"
    row, column = np.unravel_index(weights.argmax(), weights.shape)
    box = opened.locator("canvas").bounding_box()
    opened.mouse.move(box["x"] + (column + 0.5) * 28, box["y"] + (row + 0.5) * 28)
    assert opened.inner_text("#told").endswith(f"{weights.max():.3f}")
    assert opened.inner_text(".side .here") == odd_map.target[row]


def test_kinds_layers_and_heads(show, odd_map):
    opened = show(page(odd_map, "encoder", 2, 1))
    assert [opened.input_value(name) for name in ("#kind", "#layer", "#head")] == ["encoder", "2", "1"]
    for kind, layer, head in (("encoder", 2, 1), ("encoder", 0, None), ("decoder", None, 3), ("cross", 1, 2)):
        opened.select_option("#kind", kind)
        opened.select_option("#layer", "mean" if layer is None else str(layer))
        opened.select_option("#head", "mean" if head is None else str(head))
        weights = odd_map.chosen(kind, layer, head).weights
        assert opened.inner_text("#told").endswith(f"{weights.max():.3f}")
        assert abs(pixel(opened, 1, 2)[3] / 255 - weights[1, 2] / weights.max()) < 0.01
    opened.select_option("#kind", "encoder")
    opened.select_option("#layer", "2")
    opened.select_option("#kind", "cross")  # has no third layer
    assert opened.input_value("#layer") == "mean"


def test_lines(show, odd_map):
    opened = show(page(odd_map), "dark")
    opened.select_option("#form", "lines")
    painted = "document.querySelector('canvas').getContext('2d').getImageData(0, 0, 220, 120).data.filter((value, place) => place % 4 === 3 && value > 0).length"
    every = opened.evaluate(painted)
    opened.hover(".side:not(.end) div >> nth=1")
    assert 0 < opened.evaluate(painted) < every
    weights = odd_map.chosen().weights[1]
    assert opened.inner_text("#told").endswith(f"{weights.max():.3f}")
    assert opened.inner_text(".end .here") == odd_map.source[weights.argmax()]


def test_what_is_said_is_text_only(show, odd_map):
    opened = show(page(odd_map))
    assert opened.locator("script").count() == 2
    assert opened.inner_text("h1") == odd_map.text
    assert opened.locator("h1 b").count() == 0
    assert not opened.evaluate("document.documentElement.scrollWidth > window.innerWidth")


@pytest.mark.parametrize(("scheme", "bright"), [("light", True), ("dark", False)])
def test_colours_of_the_reader(show, odd_map, scheme, bright):
    opened = show(page(odd_map), scheme)
    paper, ink = (
        [int(part) for part in opened.evaluate(f"getComputedStyle(document.body).{what}").removeprefix("rgb(").rstrip(")").split(",")]
        for what in ("backgroundColor", "color")
    )
    assert (min(paper) > 200 and max(ink) < 60) if bright else (max(paper) < 60 and min(ink) > 200)


def test_seconds_are_written_here_and_there(show, odd_map):
    """Of a recognizer: thin columns, some of them labelled, and all of them told."""
    seconds = tuple(f"{frame / 50:.2f}" for frame in range(500))
    weights = np.random.default_rng(1).dirichlet(np.ones(500), (1, 1, len(odd_map.target))).astype(np.float32)
    opened = show(page(replace(odd_map, source=seconds, weights={"cross": weights})))
    written = labels(opened, "top")
    assert len(written) == 500
    assert [written[place] for place in (0, 1, 8, 16)] == ["0.00", "", "0.16", "0.32"]
    box = opened.locator("canvas").bounding_box()
    assert round(box["width"]) == 1000
    row, column = np.unravel_index(weights[0, 0].argmax(), weights.shape[2:])
    opened.mouse.move(box["x"] + (column + 0.5) * 2, box["y"] + (row + 0.5) * box["height"] / len(odd_map.target))
    assert opened.inner_text("#told").endswith(f"{seconds[column]} {weights.max():.3f}")


def test_positions_of_a_module(show, odd_map):
    positions = {"self": (("0", "1"), ("0", "1")), "cross": (("0", "1"), ("0", "1", "2"))}
    weights = {"self": np.full((1, 2, 2, 2), 0.5, np.float32), "cross": np.full((1, 2, 2, 3), 1 / 3, np.float32)}
    opened = show(page(AttentionMap((), (), (), weights, "", positions), "self", head=1))
    assert (labels(opened, "side"), labels(opened, "top")) == (["0", "1"], ["0", "1"])
    assert opened.inner_text("#told") == "query to key; the largest weight is 0.500"
    opened.select_option("#kind", "cross")
    assert labels(opened, "top") == ["0", "1", "2"]
