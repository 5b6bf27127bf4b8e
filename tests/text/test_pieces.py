"""Nothing is lost, nothing is added, everything fits."""

from __future__ import annotations

import time

import pytest

from zen_edge.errors import InputError
from zen_edge.runtimes.text.cutting import cut
from zen_edge.runtimes.text.pieces import Fit, Pieces, by_budget, by_sentence


def as_they_stand(pieces: Pieces) -> list[str]:
    return [pieces.text[start:end] for start, end in pieces.spans]


@pytest.mark.parametrize("limit", [8, 30])
@pytest.mark.parametrize("divide", [by_sentence, by_budget])
def test_pieces_that_say_what_the_text_says_are_the_text(texts, tokens, divide, limit):
    several = 0
    for text in texts:
        pieces = divide(text, Fit(tokens, limit))
        assert pieces.joined(as_they_stand(pieces)) == text
        assert max(map(tokens, pieces.sources), default=0) <= limit
        assert all(source.strip() == source != "" for source in pieces.sources)
        several += len(pieces.spans) > 3
    assert several > 100


@pytest.mark.parametrize("limit", [8, 30])
def test_every_letter_is_in_a_piece(texts, tokens, limit):
    for text in texts:
        pieces = by_sentence(text, Fit(tokens, limit))
        between = [text[end:start] for (_, end), (start, _) in zip([(0, 0), *pieces.spans], [*pieces.spans, (len(text), 0)], strict=True)]
        assert not any(map(str.isalpha, "".join(between)))
        assert all(any(map(str.isalpha, source)) for source in pieces.sources)


def test_sentences_and_what_stands_between_them():
    text = "# Title\n\n  Dr. Smith came. He left!   Then\r\n\r\n - one item\n - another one\n\n-----\n1. A list (e.g. this).\n\n"
    pieces = by_sentence(text, Fit(len, 100))
    assert pieces.sources == ("Title", "Dr. Smith came.", "He left!", "Then", "one item", "another one", "A list (e.g. this).")
    assert pieces.joined([source.upper() for source in pieces.sources]) == text.upper()
    assert pieces.joined(["<>"] * 7) == "# <>\n\n  <> <>   <>\r\n\r\n - <>\n - <>\n\n-----\n1. <>\n\n"


def test_a_wrapped_paragraph_is_one_unit_and_a_list_of_lines_is_not():
    wrapped = "This paragraph was wrapped by hand, as mail is and as many\nREADME files are. So a sentence goes on over the ends of its\nlines."
    assert by_sentence(wrapped, Fit(len, 999)).sources == (
        "This paragraph was wrapped by hand, as mail is and as many README files are.",
        "So a sentence goes on over the ends of its lines.",
    )
    hanging = "  * a bullet whose text is long enough to be wrapped twice\n    by hand, with its lines below each other, and with no\n    marker"
    assert len(by_sentence(hanging, Fit(len, 999)).sources) == 1
    listed = "binary compatibility checking tool\nbasic rules for a checker of spelling, with a longer line\nanother tool\ngraphical interface for it"
    assert by_sentence(listed, Fit(len, 999)).sources == tuple(listed.split("\n"))
    chinese = "这是一个用手换行的段落，每一行都有一样多的字，所以一个句子可以在下一行继续，因为这是纸上的样子，没\n有别的办法，这样很好，真的没有别的办法，这样就很好，一直到最后，没有别的办法，这样就很好，一直到最\n后。"
    assert by_sentence(chinese, Fit(len, 999)).sources == (chinese.replace("\n", ""),)


@pytest.mark.parametrize(
    ("text", "answers", "expected"),
    [
        ("It rains. We stay.", ["下雨了。", "我们不走。"], "下雨了。我们不走。"),
        ("下雨了。我们不走。", ["It rains.", "We stay."], "It rains. We stay."),
        ("下雨了。我们不走。", ["雨です。", "行きません。"], "雨です。行きません。"),
        ("下雨了。 我们不走。", ["下雨了。", "我们不走。"], "下雨了。 我们不走。"),
        ("It rains.\nWe stay.", ["下雨了。", "我们不走。"], "下雨了。\n我们不走。"),
        ("It rains.  We stay.", ["Es regnet.", ""], "Es regnet.  "),
        ("비가 온다. 우리는 남는다.", ["It rains.", "We stay."], "It rains. We stay."),
    ],
)
def test_spaces_come_and_go_with_the_script(text, answers, expected):
    assert by_sentence(text, Fit(len, 99)).joined(answers) == expected


def test_a_long_sentence_is_cut_at_clauses_then_at_words_then_anywhere():
    clauses = "the first part of it, the second part; the third part: and a last one"
    assert by_sentence(clauses, Fit(len, 40)).sources == ("the first part of it, the second part;", "the third part: and a last one")
    unmarked = by_sentence("one two three four five six seven eight nine ten", Fit(len, 20))
    assert max(map(len, unmarked.sources)) <= 20
    assert " ".join(unmarked.sources) == unmarked.text
    letters = by_sentence("x" * 5000, Fit(len, 256))
    assert "".join(letters.sources) == letters.text
    assert len(letters.sources) == 20


def test_a_word_cut_in_two_may_have_more_tokens():
    def tokens(text: str) -> int:
        return text.count("abcdefgh") + len(text.replace("abcdefgh", ""))

    pieces = by_sentence("abcdefgh" * 47, Fit(tokens, 10))
    assert max(map(tokens, pieces.sources)) <= 10
    assert "".join(pieces.sources) == pieces.text


def test_no_character_is_cut_in_two():
    family, accented = "👨\u200d👩\u200d👧", "e\u0301\u0323"
    for text, unit in ((family * 40, family), (accented * 40, accented)):
        ends = cut("a" + text, len, 11)
        assert len(ends) > 8
        assert all((end - 1) % len(unit) == 0 for end in ends)


def test_a_model_too_small_for_a_character_is_told():
    with pytest.raises(InputError, match="the model takes 3 tokens, too few for a single character"):
        by_sentence("word", Fit(lambda text: 3 + len(text), 3))


def test_chunks_are_full_and_about_equal():
    text = "\n\n".join(" ".join(f"This is sentence {i} of paragraph {j}." for i in range(9)) for j in range(12))
    words = Fit(lambda text: len(text.split()), 100)
    pieces = by_budget(text, words)
    counts = [len(source.split()) for source in pieces.sources]
    assert len(counts) == 8  # of 756 words
    assert min(counts) > 60
    assert all(source.endswith(".") for source in pieces.sources)


@pytest.mark.parametrize(
    "unit", ["x", "今天天气很好，我们去公园吧", "word ", "A sentence, of a kind. ", "a line\n", "a\n\n", "e\u0301", "- ", "\n", ". ", "1. "]
)
@pytest.mark.parametrize("divide", [by_sentence, by_budget])
def test_two_hundred_pages_take_seconds(unit, divide):
    """Time linear in the text, whatever it is made of."""
    text = unit * (600_000 // len(unit))
    counted = 0

    def tokens(part: str) -> int:
        nonlocal counted
        counted += len(part)
        return 1 + -(-len(part) // 3)

    start = time.perf_counter()
    pieces = divide(text, Fit(tokens, 100))
    assert time.perf_counter() - start < 20  # 1 s where nothing else runs
    assert counted < 30 * len(text)
    assert pieces.joined(as_they_stand(pieces)) == text
