"""`decoder_prefix`: the target so far. What follows is what `generate(decoder_input_ids=...)` gives, for each input as if it were alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zen_edge import InputError, OptionError

PREFIXES = ("un", "bibliothèque pour", "", "le jeu de la carte", None, "outil", "paquet de")
SEARCHES = {
    "greedy": {"num_beams": 1},
    "beams": {"num_beams": 4},
    "several": {"num_beams": 3, "num_return_sequences": 3, "length_penalty": 2.0, "early_stopping": True},
    "lengths": {"num_beams": 2, "min_new_tokens": 4, "max_new_tokens": 9, "max_length": None},
    "all lengths": {"num_beams": 2, "min_length": 9, "max_length": 14},
    "rules": {"num_beams": 1, "no_repeat_ngram_size": 2, "repetition_penalty": 1.3, "bad_words_ids": [[8000], [199]], "begin_suppress_tokens": [4]},
    "no end": {"num_beams": 1, "max_new_tokens": 12, "max_length": None, "forced_eos_token_id": None, "eos_token_id": 7999},
}  # fmt: skip


def start_ids(pipeline, prefix):
    """(1,t) as transformers wants them."""
    return torch.tensor([[8000, *(pipeline._tokenizer.encode_target(prefix) if isinstance(prefix, str) else prefix or ())]])


def as_expected(found, expected):
    assert [[one.tokens for one in line] for line in found] == [[tokens for tokens, _ in line] for line in expected]
    for line, reference in zip(found, expected, strict=True):
        assert [one.score for one in line] == pytest.approx([score for _, score in reference], abs=1e-4, rel=1e-5)


@pytest.mark.parametrize("name", SEARCHES)
def test_prefixes_of_different_length_in_one_call(name, pipeline, of_transformers, lines):
    some = lines[5::60]
    prefixes = [PREFIXES[i % len(PREFIXES)] for i in range(len(some))]
    expected = [
        of_transformers([line], decoder_input_ids=start_ids(pipeline, prefix), **SEARCHES[name])[0]
        for line, prefix in zip(some, prefixes, strict=True)
    ]
    found = pipeline.generate(some, decoder_prefix=prefixes, **SEARCHES[name])
    as_expected(found, expected)
    for line, prefix in zip(found, prefixes, strict=True):
        assert all(one.text.startswith(prefix or "") and one.text == pipeline.decode(one.tokens) for one in line)
    assert pipeline(some, decoder_prefix=prefixes, **SEARCHES[name]) == [best.text for best, *_ in found]
    assert len({one.tokens for line in found for one in line}) > 8


def test_one_prefix_for_all_is_a_batch_of_transformers(pipeline, of_transformers, lines):
    some = lines[3::70]
    ids = start_ids(pipeline, "un jeu")
    for num_beams in (1, 3):
        expected = of_transformers(some, decoder_input_ids=ids.repeat(len(some), 1), num_beams=num_beams)
        for prefix in ("un jeu", ["un jeu"] * len(some), ids[0, 1:].tolist(), ids[0].tolist(), [tuple(ids[0, 1:].tolist())] * len(some)):
            as_expected(pipeline.generate(some, decoder_prefix=prefix, num_beams=num_beams), expected)


def test_a_prefix_changes_what_is_said(pipeline):
    assert pipeline("simple game with cards", decoder_prefix="un jeu") != pipeline("simple game with cards")
    assert pipeline("simple game with cards", decoder_prefix="un jeu").startswith("un jeu ")


@pytest.mark.parametrize("nothing", [None, "", [], [None], [""], [()], " "])
def test_no_prefix(nothing, pipeline):
    assert pipeline.generate(["simple game"], decoder_prefix=nothing) == pipeline.generate(["simple game"])


def test_a_prefix_that_says_it_all(pipeline):
    (best,) = pipeline.generate("simple game", decoder_prefix="jeu simple")[0]
    assert best.text == "jeu simple"
    assert best.tokens[-1] == 0
    assert pipeline("", decoder_prefix="jeu") == ""  # a blank line stays blank


@pytest.mark.parametrize("num_beams", [1, 4])
def test_streams(num_beams, pipeline, lines):
    for line, prefix in zip(lines[::90], PREFIXES, strict=False):
        options = {"decoder_prefix": prefix, "num_beams": num_beams}
        assert "".join(pipeline.stream(line, **options)) == pipeline(line, **options)


def test_sampling_goes_on_from_it(pipeline, lines):
    options = {"do_sample": True, "num_beams": 1, "seed": 4, "num_return_sequences": 3}
    found = pipeline.generate(lines[:4], decoder_prefix=["un", "le jeu de", None, "un"], **options)
    assert [[one.text.startswith(prefix) for one in line] for line, prefix in zip(found, ("un", "le jeu de", "", "un"), strict=True)] == [
        [True] * 3
    ] * 4
    alone = [
        pipeline.generate(line, decoder_prefix=prefix, **options)[0] for line, prefix in zip(lines, ("un", "le jeu de", None, "un"), strict=False)
    ]
    assert [[one.tokens for one in line] for line in found] == [[one.tokens for one in line] for line in alone]
    assert "".join(pipeline.stream(lines[1], decoder_prefix="le jeu de", **options)) == found[1][0].text


def test_log_probabilities_are_of_what_was_generated(pipeline):
    (best,) = pipeline.generate("simple game with cards", decoder_prefix="un jeu", token_log_probs=True, num_beams=1)[0]
    assert len(best.log_probs) == len(best.tokens) - 2
    assert best.score == pytest.approx(np.mean(best.log_probs))


WRONG = [
    (3, "decoder_prefix must be a text, a list of token ids, or"),
    (b"un", "decoder_prefix must be a text"),
    ({"a": 1}, "decoder_prefix must be a text"),
    (["un"], "decoder_prefix is a list of 1 for 2 inputs"),
    (["un", "le", "la"], "decoder_prefix is a list of 3 for 2 inputs"),
    (["un", 3], "decoder_prefix holds 3 where a text or a list of token ids should stand"),
    ([[1], [2.5]], "decoder_prefix must be a token id or a list of token ids"),
    ([1.5, 2], "decoder_prefix must be a token id or a list of token ids"),
    ([8001], r"decoder_prefix names \[8001\], but the model's token ids go from 0 to 8000"),
    ([[5], [-1]], r"decoder_prefix names \[-1\]"),
    ("un \ud83d", "decoder_prefix: .* lone surrogate"),
]


@pytest.mark.parametrize(("prefix", "message"), WRONG, ids=lambda value: ascii(value)[:30])
def test_wrong_prefixes(prefix, message, pipeline):
    for ask in (pipeline, pipeline.generate, pipeline.generate_each):
        with pytest.raises(OptionError, match=message):
            ask(["simple game", "tool"], decoder_prefix=prefix)


def test_a_prefix_that_leaves_no_room(pipeline):
    with pytest.raises(OptionError, match="max_length is 3, but the decoder starts with 4 ids"):
        pipeline(["simple game", "tool"], decoder_prefix=[None, [5, 6, 7]], max_length=3)
    with pytest.raises(InputError, match="the model has no position for another"):
        pipeline("simple game", decoder_prefix=[5] * 300, max_new_tokens=4)
    with pytest.raises(OptionError, match="forced_bos_token_id=\\[5, 6\\] leaves open"):
        pipeline("simple game", decoder_prefix="un", forced_bos_token_id=[5, 6])
