"""Cutting added tokens out of text: transformers' trie, its slip with overlapping tokens included."""

import random

from transformers.tokenization_python import Trie

from zen_edge.runtimes.tokenization.added_tokens import AddedToken, AddedTokens


def split(text: str, *contents: str) -> list[str]:
    return AddedTokens([AddedToken(content, id) for id, content in enumerate(contents)]).split(text)


def test_the_longest_token_wins():
    assert split("a extra_id_100 b", "extra_id_1", "extra_id_100") == ["a ", "extra_id_100", " b"]


def test_overlapping_tokens_slip_as_in_transformers():
    assert split("abcxd", "abcd", "bc") == Trie(["abcd", "bc"]).split("abcxd") == ["abcxd"]


def test_stripping_takes_the_white_space_of_the_neighbours():
    tokens = AddedTokens([AddedToken("<m>", 0, lstrip=True, rstrip=True)])
    assert tokens.split("a  <m> \tb") == ["a", "<m>", "b"]


def test_a_single_word_inside_a_word_is_no_token():
    tokens = AddedTokens([AddedToken("word", 0, single_word=True)])
    assert tokens.split("a word b") == ["a ", "word", " b"]
    assert tokens.split("swordfish") == ["sword", "fish"]


def test_random_tokens_are_cut_as_by_the_trie():
    rng = random.Random(0)
    for _ in range(20_000):
        contents = ["".join(rng.choices("ab<", k=rng.randint(1, 5))) for _ in range(rng.randint(1, 6))]
        text = "".join(rng.choices("ab<c", k=rng.randint(0, 25)))
        assert split(text, *contents) == Trie(contents).split(text), (contents, text)
