"""A trained model, real lines: the tokens and scores of `model.generate`, in batches and alone."""

from __future__ import annotations

import pytest

OPTIONS = {
    "the checkpoint's own": {},
    "greedy": {"num_beams": 1},
    "several": {"num_return_sequences": 4},
    "two beams": {"num_beams": 2, "num_return_sequences": 2, "length_penalty": 2.0},
    "early": {"num_beams": 3, "early_stopping": True, "length_penalty": 0.6},
    "never": {"num_beams": 3, "early_stopping": "never"},
    "no repetition": {"no_repeat_ngram_size": 2, "repetition_penalty": 1.3},
    "no repetition, greedy": {"num_beams": 1, "no_repeat_ngram_size": 2, "repetition_penalty": 1.3},
    "minimum": {"min_new_tokens": 15, "max_new_tokens": 25, "max_length": None},
    "lengths, greedy": {"num_beams": 1, "min_length": 12, "max_length": 20},
    "banned words": {"bad_words_ids": [[5], [6, 7]], "suppress_tokens": [10, 11, 12]},
    "forced": {"forced_bos_token_id": 42, "forced_eos_token_id": 0, "max_new_tokens": 5, "max_length": None},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name, pipeline, of_transformers, lines):
    some = lines[7::55]
    expected, found = of_transformers(some, **OPTIONS[name]), pipeline.generate(some, **OPTIONS[name])
    assert [[one.tokens for one in line] for line in found] == [[tokens for tokens, _ in line] for line in expected]
    for line, reference in zip(found, expected, strict=True):
        assert [one.score for one in line] == pytest.approx([score for _, score in reference], abs=1e-4, rel=1e-5)


@pytest.mark.parametrize("num_beams", [1, 4])
@pytest.mark.parametrize("rows", [1, 20])
def test_padded_and_alone(num_beams, rows, pipeline, of_transformers, lines):
    some = lines[::33]
    expected = [line[0] for at in range(0, len(some), rows) for line in of_transformers(some[at : at + rows], num_beams=num_beams)]
    found = [line[0] for at in range(0, len(some), rows) for line in pipeline.generate(some[at : at + rows], num_beams=num_beams)]
    assert [one.tokens for one in found] == [tokens for tokens, _ in expected]
    assert [one.score for one in found] == pytest.approx([score for _, score in expected], abs=1e-4)
    assert [one.text for one in found] == [pipeline.decode(tokens) for tokens, _ in expected]
    assert len({token for tokens, _ in expected for token in tokens}) > 50
