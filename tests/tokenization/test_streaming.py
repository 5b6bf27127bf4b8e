"""Whatever is shown while it is generated is never taken back, and together it is the whole text."""

import random

import pytest

from zen_edge.runtimes.tokenization.streaming import TextStream
from zen_edge.runtimes.tokenization.text import clean_up_spaces


def streamed(decode, ids: list[int], step: int = 1) -> list[str]:
    stream = TextStream(decode)
    return [*(stream.push(ids[:end]) for end in range(step, len(ids) + 1, step)), stream.close(ids)]


def by_bytes(ids) -> str:
    return bytes(ids).decode("utf-8", "replace")


def test_words_come_when_they_are_whole(shipped_case):
    ids = shipped_case.reference(text_target="jeu de stratégie en temps réel")["input_ids"]
    pieces = [piece for piece in streamed(shipped_case.tokenizer.decode, ids) if piece]
    assert pieces[:2] == ["jeu", " de"]
    assert "".join(pieces) == "jeu de stratégie en temps réel"


def test_translations_add_up(case, pairs):
    for pair in pairs[:200]:
        ids = case.reference(text_target=pair["target"], verbose=False)["input_ids"]
        pieces = streamed(case.tokenizer.decode, ids)
        assert "".join(pieces) == case.tokenizer.decode(ids)
        assert len([piece for piece in pieces if piece]) >= min(3, len(pair["target"].split()) - 1)


def test_random_ids_add_up(case):
    rng = random.Random(3)
    known = [id for id in range(len(case.reference)) if case.reference_text([id]) is not None]
    marks = [id for id in known if case.reference_text([id]) in (".", ",", "'", "?", "!", "n", "t", "'t", "s", "")]
    for _ in range(1000):
        ids = [rng.choice(marks if rng.random() < 0.5 else known) for _ in range(rng.randint(0, 25))]
        assert "".join(streamed(case.tokenizer.decode, ids, step=rng.randint(1, 4))) == case.tokenizer.decode(ids), ids


def test_clean_up_may_take_a_space_away_after_it_was_seen():
    words = ["do", " n", "'t", " x", " '", " ", "y", " .", " Z", " '", "s", " ' ' "]

    def decode(ids):
        return clean_up_spaces("".join(words[id] for id in ids).strip())

    rng = random.Random(4)
    assert decode([0, 1, 2, 3, 7]) == "don't x."
    for _ in range(20_000):
        ids = rng.choices(range(len(words)), k=rng.randint(0, 12))
        assert "".join(streamed(decode, ids)) == decode(ids), ids


def test_half_characters_are_held_back():
    ids = list("né 東京は👍 ok".encode())
    pieces = streamed(by_bytes, ids)
    assert "".join(pieces) == "né 東京は👍 ok"
    assert not any("\ufffd" in piece for piece in pieces)
    assert "né 東" in pieces and "京" in pieces  # no spaces to wait for


def test_any_bytes_add_up():
    rng = random.Random(5)
    for _ in range(2000):
        ids = [rng.choice(b" \n.a\xe6\x9d\xb1\xf0\x9f\x91\x8d\xc3\xa9\xff") for _ in range(rng.randint(0, 30))]
        assert "".join(streamed(by_bytes, ids)) == by_bytes(ids), ids


def test_other_tokens_at_the_end_are_an_error():
    stream = TextStream(by_bytes)
    assert stream.push(list(b"one two three")) == "one two"
    assert stream.push(list(b"two")) == ""
    with pytest.raises(ValueError, match="the tokens pushed were others"):
        stream.close(list(b"one three"))
