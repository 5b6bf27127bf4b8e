"""Pairs in overlapping windows, with the characters of every token: the same as transformers gives, of every kind that encoders have."""

import random

import pytest

from zen_edge.errors import CheckFailedError, InputError
from zen_edge.exporters.tokenization import HARD_LINES, SURROGATES, prove_windows


def reference_windows(kind, first, second, most, stride):
    return kind.reference(
        first,
        second,
        truncation="only_second",
        max_length=most,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_token_type_ids=True,
        return_special_tokens_mask=True,
    )


def test_every_kind_passes_the_proof_of_the_export(encoder_kind):
    assert prove_windows(encoder_kind.reference, encoder_kind.tokenizer.windows) > 2 * len(HARD_LINES)


def test_random_pairs(encoder_kind, pairs):
    rng = random.Random(3)
    texts = [*filter(None, HARD_LINES), *(text for pair in pairs[:200] for text in pair.values() if isinstance(text, str))]
    for _ in range(150):
        first = rng.choice(texts)[:200]
        second = " ".join(rng.choices(texts, k=rng.randint(1, 4)))[:2000]
        asked = len(encoder_kind.reference(first, add_special_tokens=False)["input_ids"])
        room = rng.randint(1, 60)
        most, stride = asked + encoder_kind.reference.num_special_tokens_to_add(pair=True) + room, rng.randrange(room)
        theirs = reference_windows(encoder_kind, first, second, most, stride)
        ours = encoder_kind.tokenizer.windows(first, second, most=most, stride=stride)
        assert [one.ids for one in ours] == theirs["input_ids"], ascii((first, second, most, stride))
        if "token_type_ids" in encoder_kind.reference.model_input_names:
            assert [one.type_ids for one in ours] == theirs["token_type_ids"]
        assert [one.offsets for one in ours] == theirs["offset_mapping"]
        assert [one.special_tokens_mask for one in ours] == theirs["special_tokens_mask"]
        assert [one.word_ids for one in ours] == [theirs.word_ids(place) for place in range(len(ours))]
        assert [one.sequence_ids for one in ours] == [theirs.sequence_ids(place) for place in range(len(ours))]


def test_texts_and_pairs_that_are_whole(encoder_kind):
    for line in HARD_LINES:
        for pair in (None, "and a second line", ""):
            theirs = encoder_kind.reference(line, pair, return_offsets_mapping=True, return_token_type_ids=True, verbose=False)
            ours = encoder_kind.tokenizer.encoding(line, pair)
            found = ours.ids, ours.offsets, ours.type_ids
            assert found == (theirs["input_ids"], theirs["offset_mapping"], theirs["token_type_ids"]), ascii((line, pair))


@pytest.mark.parametrize("most", [20, 61, 384])
def test_the_usual_stride_is_that_of_transformers_where_it_fits(named_kind, most):
    kind, context = named_kind("bert"), "the library of sounds and images " * 60
    theirs = reference_windows(kind, "what", context, most, min(128, most // 2))
    assert len(theirs["input_ids"]) > 1
    assert [one.ids for one in kind.tokenizer.windows("what", context, most=most)] == theirs["input_ids"]


def test_a_long_question_leaves_windows_that_still_overlap(named_kind):
    tokenizer = named_kind("bert").tokenizer
    question, context = "the library of sounds", "the library of sounds and images " * 20
    most = len(tokenizer.encoding(question)) + 1 + 6
    first, second, *_ = tokenizer.windows(question, context, most=most)
    assert first.ids[-4:-1] == second.ids[-7:-4]
    with pytest.raises(InputError, match="leaves no room"):
        tokenizer.windows(question, context, most=most - 6)
    with pytest.raises(InputError, match="not less than the 6 tokens"):
        tokenizer.windows(question, context, most=most, stride=6)


def test_a_question_is_cut_to_its_beginning(named_kind):
    tokenizer = named_kind("bert").tokenizer
    (cut,) = tokenizer.windows("library of sounds and images", "a b", most=100, first_most=2)
    whole = tokenizer.encoding("library of sounds and images")
    assert cut.ids[:3] == whole.ids[:3] and cut.sequence_ids.count(0) == 2


def test_no_unicode_on_either_side(named_kind):
    for line in SURROGATES:
        for pair in ((line, "x"), ("x", line)):
            with pytest.raises(InputError, match="lone surrogate"):
                named_kind("bert").tokenizer.windows(*pair, most=100)


def test_the_proof_sees_one_character(named_kind):
    kind = named_kind("roberta_cleaned")

    class Off:
        def __init__(self, encoding):
            self.encoding = encoding

        def __getattr__(self, name):
            return getattr(self.encoding, name)

        @property
        def offsets(self):
            return [(start, end + (end == 9)) for start, end in self.encoding.offsets]

    with pytest.raises(CheckFailedError, match="characters of tokens"):
        prove_windows(kind.reference, lambda *pair, **options: [Off(one) for one in kind.tokenizer.windows(*pair, **options)])
