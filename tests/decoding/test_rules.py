"""Each logits rule against transformers' LogitsProcessor on random scores: the same numbers, and the fast path the same candidates."""

import numpy as np
import pytest
import torch
from transformers.generation import logits_process

from zen_edge.runtimes.decoding import StepScores
from zen_edge.runtimes.decoding.candidates import candidates, request
from zen_edge.runtimes.decoding.options import GenerationOptions
from zen_edge.runtimes.decoding.rule import Rescore
from zen_edge.runtimes.decoding.rules import option_classes

VOCAB_SIZE, MAX_LENGTH, START_LENGTH = 40, 12, 2
ENDS = [3, 7]
BAD = [[5], [6], [1, 2], [2, 1], [1, 2, 3], [0, 4], [4], [3], [3, 3]]

RULES = {
    "repetition_penalty": ({"repetition_penalty": 1.7}, lambda: logits_process.RepetitionPenaltyLogitsProcessor(1.7)),
    "repetition_penalty below 1": ({"repetition_penalty": 0.6}, lambda: logits_process.RepetitionPenaltyLogitsProcessor(0.6)),
    "no_repeat_ngram 1": ({"no_repeat_ngram_size": 1}, lambda: logits_process.NoRepeatNGramLogitsProcessor(1)),
    "no_repeat_ngram 2": ({"no_repeat_ngram_size": 2}, lambda: logits_process.NoRepeatNGramLogitsProcessor(2)),
    "no_repeat_ngram 3": ({"no_repeat_ngram_size": 3}, lambda: logits_process.NoRepeatNGramLogitsProcessor(3)),
    "bad_words": ({"bad_words_ids": BAD}, lambda: logits_process.NoBadWordsLogitsProcessor(BAD, ENDS)),
    "min_length": ({"min_length": 6}, lambda: logits_process.MinLengthLogitsProcessor(6, ENDS)),
    "min_new_tokens": ({"min_new_tokens": 5}, lambda: logits_process.MinNewTokensLengthLogitsProcessor(START_LENGTH, 5, ENDS)),
    "min_new_tokens before min_length": (
        {"min_new_tokens": 1, "min_length": 9},
        lambda: logits_process.MinNewTokensLengthLogitsProcessor(START_LENGTH, 1, ENDS),
    ),
    "forced_bos": ({"forced_bos_token_id": 8}, lambda: logits_process.ForcedBOSTokenLogitsProcessor(8)),
    "forced_eos": ({"forced_eos_token_id": [3, 7]}, lambda: logits_process.ForcedEOSTokenLogitsProcessor(MAX_LENGTH, [3, 7])),
    "suppress": ({"suppress_tokens": [1, 5, 9, 300]}, lambda: logits_process.SuppressTokensLogitsProcessor([1, 5, 9, 300])),
    "begin_suppress": (
        {"begin_suppress_tokens": [2, 4]},
        lambda: logits_process.SuppressTokensAtBeginLogitsProcessor([2, 4], START_LENGTH),
    ),
}


def rules_for(**options):
    chosen = GenerationOptions.from_defaults({}, eos_token_id=ENDS, max_length=MAX_LENGTH, **options)
    return chosen.active_rules(START_LENGTH, VOCAB_SIZE)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 6, 7, 11])
@pytest.mark.parametrize("name", RULES)
def test_same_scores_as_transformers(name, length):
    options, processor = RULES[name]
    rng = np.random.default_rng(length)
    ids = rng.integers(0, 5, (6, length))
    scores = rng.normal(size=(6, VOCAB_SIZE)).astype(np.float32)
    (rule,) = rules_for(**options)
    effect = rule(ids)
    given = scores.copy()
    ours = scores if effect is None else effect.apply(scores)
    np.testing.assert_array_equal(ours, processor()(torch.from_numpy(ids), torch.from_numpy(scores)).numpy())
    np.testing.assert_array_equal(scores, given)


def test_renormalizing_is_that_of_transformers():
    (rule,) = rules_for(renormalize_logits=True)
    scores = np.random.default_rng(0).normal(size=(6, VOCAB_SIZE)).astype(np.float32)
    scores[:, 3:9] = -np.inf
    expected = logits_process.LogitNormalization()(None, torch.from_numpy(scores)).numpy()
    np.testing.assert_allclose(rule(np.zeros((6, 1), np.int64)).apply(scores), expected, atol=1e-6)
    nothing = np.full((1, VOCAB_SIZE), -np.inf, np.float32)
    np.testing.assert_array_equal(rule(np.zeros((1, 1), np.int64)).apply(nothing), nothing)


def test_every_rule_acts_somewhere():
    """A rule that never acted would pass the comparison above."""
    for options, _ in RULES.values():
        (rule,) = rules_for(**options)
        lengths = range(1, MAX_LENGTH)
        assert any(rule(np.random.default_rng(0).integers(0, 5, (6, length))) is not None for length in lengths), options


def test_ids_beyond_the_scores_are_left_alone():
    ids = np.array([[1, VOCAB_SIZE, VOCAB_SIZE + 4, 1, VOCAB_SIZE]])
    scores = np.random.default_rng(0).normal(size=(1, VOCAB_SIZE)).astype(np.float32)
    for options, processor in (RULES["repetition_penalty"], RULES["no_repeat_ngram 1"], RULES["no_repeat_ngram 2"]):
        (rule,) = rules_for(**options)
        effect = rule(ids)
        ours = scores if effect is None else effect.apply(scores)
        np.testing.assert_array_equal(ours, processor()(torch.from_numpy(ids), torch.from_numpy(scores)).numpy())


@pytest.mark.parametrize("log_probs", [False, True])
@pytest.mark.parametrize("wanted", [1, 8])
@pytest.mark.parametrize("length", [1, 2, 5, 11])
def test_the_fast_path_finds_the_same_candidates(length, wanted, log_probs):
    rng = np.random.default_rng(length)
    ids = rng.integers(0, 5, (6, length))
    logits = rng.normal(size=(6, VOCAB_SIZE)).astype(np.float32)
    every = {
        "no_repeat_ngram_size": 2,
        "bad_words_ids": BAD,
        "min_new_tokens": 4,
        "suppress_tokens": [1, 9],
        "begin_suppress_tokens": [11, 12],
        "forced_bos_token_id": 8,
        "forced_eos_token_id": ENDS,
    }
    rules = rules_for(**every)
    fast = request(rules, ids, wanted, VOCAB_SIZE)
    slow = request([*rules, lambda ids: Rescore(lambda scores: scores)], ids, wanted, VOCAB_SIZE)
    assert fast.source == ("forced" if length in (1, 11) else "top")
    assert slow.source == "all"
    order = np.argsort(-logits, axis=1)[:, : fast.top_k]
    sums = np.log(np.exp(logits).sum(axis=1))
    scores = StepScores(np.take_along_axis(logits, order, axis=1), order, sums, lambda: logits)
    found, expected = (candidates(asked, scores, log_probs=log_probs) for asked in (fast, slow))
    for row in range(len(ids)):
        best = np.argsort(-found.scores[row], kind="stable")[:wanted]
        np.testing.assert_allclose(found.scores[row, best], expected.scores[row], rtol=1e-5, atol=1e-6)
        finite = np.isfinite(expected.scores[row])
        assert set(found.ids[row, best][finite].tolist()) == set(expected.ids[row][finite].tolist())


def test_the_order_is_that_of_transformers():
    rules = rules_for(
        repetition_penalty=1.1,
        no_repeat_ngram_size=2,
        bad_words_ids=BAD,
        min_length=1,
        forced_bos_token_id=1,
        forced_eos_token_id=2,
        suppress_tokens=[9],
        begin_suppress_tokens=[9],
    )
    names = [type(rule).__name__ for rule in rules]
    assert names == ["RepetitionPenalty", "NoRepeatNgram", "BadWords", "MinLength", "ForcedBos", "ForcedEos", "Suppress", "BeginSuppress"]


def test_no_two_rules_share_an_option_name_or_a_place():
    names = [name for options in option_classes() for name in options.__match_args__]
    assert len(set(names)) == len(names)
    places = [options.ORDER for options in option_classes()]
    assert len(set(places)) == len(places)
