"""What goes round in circles, and what only looks like it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from zen_edge.runtimes.text.repetition import guard_size, is_degenerate, most_repeats


def ids_of(text: str) -> list[int]:
    """A token for each word and punctuation mark."""
    parts = text.replace(",", " ,").replace(".", " .").split()
    return [sum(ord(letter) * 31**i for i, letter in enumerate(part)) % 100_003 for part in parts]


def degenerate(source: str, output: str, *, cut_off: bool = True) -> bool:
    return is_degenerate(ids_of(output), output, ids_of(source), source, cut_off=cut_off)


@pytest.mark.parametrize(
    "output",
    [
        "le " * 30,
        "un outil, " * 9,
        "Il est un outil pour la gestion " + "de la gestion " * 6,
        "Voir la description " + "de hachage " * 8 + "et la suite du texte.",  # it may find its way out
        " ".join(f"le chat de la maison {letter} de la" for letter in "abacabadabacab"),
    ],
)
def test_loops(output):
    assert degenerate("This is a pure implementation of balloon hashing. See the page for a description of it.", output)


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("ha ha ha ha ha ha ha ha", "ah ah ah ah ah ah ah ah ah ah ah ah"),
        ("ha ha ha, he said", "ah ah ah, dit-il"),
        ("no no no no!", "non non non non !"),
        ("0 0 0 0 0 0 0 0 0 0 0 0 1", "0 0 0 0 0 0 0 0 0 0 0 0 1"),
        ("1, 2, 1, 2, 1, 2, 1, 2, 1, 2", "1, 2, 1, 2, 1, 2, 1, 2, 1, 2"),
        ("a" * 80, "a " * 40),
        ("........................", ". . . . . . . . . . . . . . . . . ."),
        ("word " * 60, "mot " * 60),
        ("The same sentence. " * 12, "La même phrase. " * 12),
        ("eggs, milk, bread, cheese, ham, rice, salt, oil", "des œufs, du lait, du pain, du fromage, du jambon, du riz, du sel, de l'huile"),
        ("I say that that is that", "je dis que que que que"),
    ],
)
def test_what_the_source_has_too(source, output):
    assert not degenerate(source, output)


def test_translations_by_people_are_no_loops():
    path = Path(__file__).parents[1] / "data" / "descriptions.test.en-fr.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    draw = random.Random(1)
    for count in (1, 4, 16):
        for _ in range(300):
            some = draw.sample(rows, count)
            assert not degenerate(" ".join(row["source"] for row in some), " ".join(row["target"] for row in some))


def test_no_output():
    assert not degenerate("a text", "")
    assert not degenerate("", "")


def test_most_repeats_is_what_looking_finds():
    draw = random.Random(2)
    for _ in range(300):
        items = draw.choices(range(3), k=draw.randrange(1, 40)) + draw.choices(range(2), k=3) * draw.randrange(6)
        slow = 0.0
        for period in range(1, len(items) // 2 + 1):
            for start in range(len(items)):
                covered = period
                while start + covered < len(items) and items[start + covered] == items[start + covered - period]:
                    covered += 1
                if start + period <= len(items) and covered >= max(6, 2 * period):
                    slow = max(slow, covered / period)
        assert most_repeats(np.array(items), 2, 6) == slow


def test_guards_leave_letters_room_where_tokens_are_bytes():
    text = "a text of some words"
    assert guard_size(list(range(6)), text) == 6
    assert guard_size(list(text.encode()), text) == 24
    assert guard_size(list("今天天气很好".encode()), "今天天气很好") == 24
