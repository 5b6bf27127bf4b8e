"""Sampling through a bundle: transformers' distribution, and the same draw for the same seed whatever else is asked."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

import zen_edge

# The chance of a wrong alarm; seeds are fixed, so a test that passes once passes always.
ALARM = 1e-3
DRAWS = 1500
OPTIONS = {
    "default": {},
    "temperature": {"temperature": 0.6, "top_k": 0},
    "top_k": {"top_k": 4},
    "top_p": {"top_p": 0.5},
    "min_p and typical_p": {"min_p": 0.02, "typical_p": 0.8},
    "after rules": {"top_k": 5, "no_repeat_ngram_size": 1, "repetition_penalty": 1.5, "suppress_tokens": list(range(20, 200))},
    "after a prefix": {"top_k": 6, "decoder_prefix": [40, 50]},
}


def differ(one, other):
    """Whether two counts of the same number of draws differ by more than chance; outcomes seen less than ten times are taken together."""
    common = [outcome for outcome in one.keys() | other.keys() if one[outcome] + other[outcome] >= 10]
    pairs = [(one[outcome], other[outcome]) for outcome in common]
    pairs.append((one.total() - sum(pair[0] for pair in pairs), other.total() - sum(pair[1] for pair in pairs)))
    statistic = sum((a - b) ** 2 / (a + b) for a, b in pairs if a + b)  # the difference of two counts has the variance of their sum
    return torch.special.gammaincc(torch.tensor((len(pairs) - 1) / 2), torch.tensor(statistic / 2)).item() < ALARM


@pytest.mark.parametrize("name", OPTIONS)
def test_the_distribution_is_that_of_transformers(name, mbart50, lines):
    theirs = {"top_p": 1.0, "do_sample": True, "max_new_tokens": 3, **OPTIONS[name]}
    given = theirs.pop("decoder_prefix", [])
    if given:
        theirs["decoder_input_ids"] = torch.tensor([[2, *given]])
    torch.manual_seed(1)
    expected = mbart50.of_transformers(lines[:1], num_return_sequences=DRAWS, **theirs)[0]
    found = mbart50.pipeline.generate(lines[0], do_sample=True, seed=1, num_return_sequences=DRAWS, max_new_tokens=3, **OPTIONS[name])[0]
    begin = len(given)
    for length in (1, 2, 3):
        ours = Counter(one.tokens[begin : begin + length] for one in found)
        reference = Counter(tokens[begin : begin + length] for tokens, _ in expected)
        assert not differ(ours, reference), length
        assert len(ours) > 2
    flat = Counter({tokens: DRAWS // len(ours) for tokens in ours})
    assert differ(flat, reference), "the test would not see a flat draw"


@pytest.mark.parametrize("options", [{"num_beams": 1}, {"num_beams": 1, "num_return_sequences": 3, "temperature": 1.5}, {"num_beams": 3, "top_k": 9}])
def test_a_seed_decides(options, pipeline, lines):
    options = {"do_sample": True, "seed": 11, **options}
    some = [*lines[:30], lines[3]]
    found = pipeline.generate(some, **options)
    assert pipeline.generate(some, **options) == found
    tokens = [[one.tokens for one in line] for line in found]
    assert [[one.tokens for one in line] for line in pipeline.generate(some[::-1], **options)[::-1]] == tokens
    assert [[one.tokens for one in pipeline.generate(line, **options)[0]] for line in some[::5]] == tokens[::5]
    assert tokens[30] == tokens[3]
    assert [pipeline(line, **options) for line in some[:3]] == [line[0].text for line in found[:3]]
    assert "".join(pipeline.stream(some[1], **options)) == found[1][0].text
    other = [[one.tokens for one in line] for line in pipeline.generate(some, **{**options, "seed": 12})]
    assert sum(one != two for one, two in zip(tokens, other, strict=True)) > 8


def test_without_a_seed_calls_differ(pipeline, lines):
    options = {"do_sample": True, "num_beams": 1, "temperature": 1.5}
    assert len({tuple(pipeline(lines[:10], **options)) for _ in range(3)}) == 3


def test_a_seed_holds_in_another_pipeline(demo_fp32, pipeline, lines):
    options = {"do_sample": True, "num_beams": 1, "seed": 3}
    with zen_edge.load(demo_fp32, threads=2) as other:
        assert other(lines[:10], **options) == pipeline(lines[:10], **options)
