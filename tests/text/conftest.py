"""Texts with everything that splitting could trip over, and ways to count their tokens."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

PARTS = [
    "Dr. Smith went home. ", "It was 3.14 m, i.e. not far; he slept. ", "“Stop!” she said. ", "e.g. ", "J. K. Rowling wrote it.", " ", "  ", "\t", "\n", "\n\n",
    "\r\n", "\r\n\r\n", "\n   - ", "\n1. ", "\n> ", "## Title\n", "-----", "…", "?", "! ", ". ", "。", "今天天气很好。我们去公园吧！", "「はい。」と言った", "مرحبا بك. ",
    "हाँ। ", "😀👨‍👩‍👧 ", "e\u0301\u0301", "\u200b", "\ufeff", "\u00a0", "\u3000", "\u2028", "\x85", "\x0b", "\x0c", "\x00", "B\u3000.", "x" * 90, "word ", "and, then ",
    "http://a.b/c?d=e. ", "(see [1]). ", "line that was wrapped by hand at a width\nwhich all lines of it have in common as\nfar as words let them\n",
]  # fmt: skip


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """600 of them, of 0 to 60 parts."""
    draw = random.Random(7)
    return ["".join(draw.choices(PARTS, k=draw.randrange(61))) for _ in range(600)]


def uneven(text: str) -> int:
    """Pieces of up to four characters that begin anew at every word: what is cut in a word may have more of them."""
    return 1 + sum(-(-len(word) // 4) for word in text.split(" "))


COUNTERS: dict[str, Callable[[str], int]] = {
    "words": lambda text: 1 + len(text.split()),
    "characters": lambda text: 1 + len(text),
    "bytes": lambda text: 1 + len(text.encode()),
    "uneven": uneven,
    "thirds": lambda text: len(text) // 3,  # parts have fewer than the whole
}


@pytest.fixture(params=list(COUNTERS))
def tokens(request: pytest.FixtureRequest) -> Callable[[str], int]:
    return COUNTERS[request.param]
