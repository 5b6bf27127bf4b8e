"""Questions about descriptions: where their answers stand, and which windows hold them."""

import random

from zen_edge.benchmarks.train_answerer import KINDS, SPECIAL, WINDOW, examples, make_tokenizer, questions

DOCUMENTS = [
    "A library that reads JSON. It is written in Haskell.",
    "This package contains the header files for version 2.4 of it.",
    "A client that speaks IMAP; it draws with GTK+.",
    "Nothing of the kind is named here at all.",
    *(f"Tool number {i} of many, which does things with words and " + "more words " * i + "in Perl." for i in range(3, 60)),
]


def test_answers_stand_where_they_are_said_to():
    rows = [row for seed in range(8) for row in questions(DOCUMENTS, random.Random(seed), 0.3)]
    asked = [row for row in rows if row["answers"]["text"]]
    for row in asked:
        (text,), (start,) = row["answers"]["text"], row["answers"]["answer_start"]
        assert row["context"][start : start + len(text)] == text
    assert {text for row in asked for text in row["answers"]["text"]} >= {"JSON", "Haskell", "the header files", "2.4", "IMAP", "GTK+", "Perl"}
    assert 0 < len(rows) - len(asked) < len(rows) / 4
    assert {row["question"] for row in rows} <= set(KINDS)


def test_a_window_without_the_answer_has_none():
    tokenizer = make_tokenizer([*DOCUMENTS, *KINDS])
    context = "more words " * 200 + "in Perl."
    row = {"question": next(iter(KINDS)), "context": context, "answers": {"text": ["Perl"], "answer_start": [context.index("Perl")]}}
    found = [*examples(tokenizer, [row])]
    assert len(found) > 2 and all(len(encoding) == WINDOW for encoding, *_ in found)
    said = [" ".join(encoding.tokens[first : last + 1]).replace(" ##", "") for encoding, first, last in found]
    assert said == [SPECIAL["cls_token"]] * (len(found) - 1) + ["Perl"]
