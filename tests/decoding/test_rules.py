"""Each logits rule against transformers' LogitsProcessor on random scores: the same numbers, and the fast path the same candidates."""

import numpy as np
import pytest
import torch
from transformers import GenerationConfig
from transformers.generation import GenerationMixin, logits_process

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding import StepScores
from zen_edge.runtimes.decoding.candidates import candidates, every_score, request
from zen_edge.runtimes.decoding.options import GenerationOptions
from zen_edge.runtimes.decoding.rule import ByInput, Rescore
from zen_edge.runtimes.decoding.rules import option_classes

VOCAB_SIZE, MAX_LENGTH, START_LENGTH = 40, 12, 2
ENDS = [3, 7]
ENCODER = [[0, 1, 2, 0, 3, 4, 4], [4, 4, 1, 2], [0, 0, 0, 0, 2, 39]]  # of three inputs, two rows each
PADDED = torch.tensor([row + row[-1:] * (7 - len(row)) for row in ENCODER])
BIASES = [[[5], 3.5], [[2], -1.25], [[1, 2], 2.5], [[3, 2], -4.0], [[0, 1, 2], 1.5], [[4, 4], -10.0], [[2], 0.75]]
BAD = [[5], [6], [1, 2], [2, 1], [1, 2, 3], [0, 4], [4], [3], [3, 3]]


def encoder_ngrams_unpadded(size):
    """transformers' rule for each input alone, so that no padding takes part."""
    each = [logits_process.EncoderNoRepeatNGramLogitsProcessor(size, torch.tensor([row])) for row in ENCODER]
    return lambda ids, scores: torch.cat([rule(ids[at * 2 : at * 2 + 2], scores[at * 2 : at * 2 + 2]) for at, rule in enumerate(each)])


RULES = {
    "sequence_bias": ({"sequence_bias": BIASES}, lambda: logits_process.SequenceBiasLogitsProcessor(BIASES)),
    "sequence_bias as a dict": (
        {"sequence_bias": {(1,): 2, (3, 1): -1}},
        lambda: logits_process.SequenceBiasLogitsProcessor({(1,): 2.0, (3, 1): -1.0}),
    ),
    "encoder_repetition_penalty": (
        {"encoder_repetition_penalty": 1.6},
        lambda: logits_process.EncoderRepetitionPenaltyLogitsProcessor(1.6, PADDED),
    ),
    **{
        f"encoder_no_repeat_ngram {size}": (
            {"encoder_no_repeat_ngram_size": size},
            lambda size=size: encoder_ngrams_unpadded(size),
        )
        for size in (1, 2, 3)
    },
    "exponential_decay": (
        {"exponential_decay_length_penalty": (2, 1.3)},
        lambda: logits_process.ExponentialDecayLengthPenalty((2, 1.3), ENDS, START_LENGTH),
    ),
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
    return chosen.active_rules(START_LENGTH, VOCAB_SIZE, ENCODER)


def effect_of(rule, ids):
    """For two rows of each of three inputs."""
    return rule.rule(ids, (0, 1, 2)) if isinstance(rule, ByInput) else rule(ids)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 6, 7, 11])
@pytest.mark.parametrize("name", RULES)
def test_same_scores_as_transformers(name, length):
    options, processor = RULES[name]
    rng = np.random.default_rng(length)
    ids = rng.integers(0, 5, (6, length))
    scores = rng.normal(size=(6, VOCAB_SIZE)).astype(np.float32)
    (rule,) = rules_for(**options)
    effect = effect_of(rule, ids)
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
        assert any(effect_of(rule, np.random.default_rng(0).integers(0, 5, (6, length))) is not None for length in lengths), options


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
        sequence_bias=BIASES,
        encoder_repetition_penalty=1.1,
        repetition_penalty=1.1,
        no_repeat_ngram_size=2,
        encoder_no_repeat_ngram_size=2,
        exponential_decay_length_penalty=(1, 1.1),
        bad_words_ids=BAD,
        min_length=1,
        forced_bos_token_id=1,
        forced_eos_token_id=2,
        suppress_tokens=[9],
        begin_suppress_tokens=[9],
        do_sample=True,
        **WARPERS["together"],
        renormalize_logits=True,
    )
    names = [type(rule.rule if isinstance(rule, ByInput) else rule).__name__ for rule in rules]
    of_inputs = ["SequenceBias", "EncoderRepetitionPenalty", "RepetitionPenalty", "NoRepeatNgram", "EncoderNoRepeatNgram", "BadWords", "MinLength"]
    of_place = ["ForcedBos", "ForcedEos", "ExponentialDecay", "Suppress", "BeginSuppress"]
    of_sampling = ["Temperature", "KeepTopK", "TopP", "MinP", "Typical", "EpsilonCutoff", "EtaCutoff"]
    assert names == [*of_inputs, *of_place, *of_sampling, "Renormalize"]


def test_rules_that_look_at_the_input_follow_it():
    """When inputs have left the batch, and with several beams each."""
    for name, options in (("ngram", {"encoder_no_repeat_ngram_size": 2}), ("penalty", {"encoder_repetition_penalty": 1.5})):
        (rule,) = rules_for(**options)
        ids = np.random.default_rng(0).integers(0, 5, (3, 4))
        scores = np.random.default_rng(1).normal(size=(3, VOCAB_SIZE)).astype(np.float32)
        alone = [rule.rule(ids, (each,)).apply(scores) for each in (0, 2)]
        together = rule.rule(np.tile(ids, (2, 1)), (0, 2)).apply(np.tile(scores, (2, 1)))
        np.testing.assert_array_equal(together, np.concatenate(alone), err_msg=name)


@pytest.mark.parametrize("name", ["encoder_no_repeat_ngram_size", "encoder_repetition_penalty"])
def test_rules_that_look_at_the_input_need_its_ids(name):
    options = GenerationOptions.from_defaults({}, **{name: 2})
    with pytest.raises(OptionError, match=f"{name} needs an input made of token ids"):
        options.active_rules(START_LENGTH, VOCAB_SIZE)


def test_a_penalty_towards_the_end_needs_an_end():
    with pytest.raises(OptionError, match="needs an end token"):
        GenerationOptions.from_defaults({}, exponential_decay_length_penalty=(1, 1.1)).active_rules(START_LENGTH, VOCAB_SIZE)


WARPERS = {
    "temperature": {"temperature": 0.7},
    "top_k": {"top_k": 5},
    "top_k of one": {"top_k": 1},
    "top_k beyond the vocabulary": {"top_k": 400},
    "top_p": {"top_p": 0.6},
    "top_p of nothing": {"top_p": 0.0},
    "min_p": {"min_p": 0.2},
    "typical_p": {"typical_p": 0.4},
    "epsilon_cutoff": {"epsilon_cutoff": 0.02},
    "eta_cutoff": {"eta_cutoff": 0.03},
    "together": {
        "temperature": 1.5,
        "top_k": 20,
        "top_p": 0.95,
        "min_p": 0.02,
        "typical_p": 0.9,
        "epsilon_cutoff": 0.01,
        "eta_cutoff": 0.01,
    },
}


def of_transformers(scores, num_beams, options):
    """The scores after transformers' own warpers, as `generate` puts them together."""
    config = GenerationConfig(do_sample=True, num_beams=num_beams, eos_token_id=ENDS, **{"top_k": 0} | options)
    config._eos_token_tensor = torch.tensor(ENDS)
    processors = GenerationMixin._get_logits_processor(GenerationMixin(), config, input_ids_seq_length=1)
    assert len(processors) == len(options)
    return processors(torch.zeros((len(scores), 1), dtype=torch.int64), torch.from_numpy(scores)).numpy()


@pytest.mark.parametrize("spread", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("name", WARPERS)
def test_sampling_filters_are_those_of_transformers(name, num_beams, spread):
    scores = (spread * np.random.default_rng(4).normal(size=(12, VOCAB_SIZE))).astype(np.float32)
    scores[3:, 10:20] = -np.inf
    ours = scores
    for rule in rules_for(do_sample=True, num_beams=num_beams, **{"top_k": 0} | WARPERS[name]):
        ours = rule(np.zeros((12, 1), np.int64)).apply(ours)
    expected = of_transformers(scores, num_beams, WARPERS[name])
    np.testing.assert_array_equal(np.isneginf(ours), np.isneginf(expected))
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


@pytest.mark.parametrize("log_probs", [False, True])
@pytest.mark.parametrize("bans", [{}, {"suppress_tokens": [1, 9]}, {"renormalize_logits": True, "bad_words_ids": BAD}])
def test_sampling_from_the_best_candidates_is_exact(bans, log_probs):
    """top_k leaves few tokens: these alone are asked for, unless something outside might equal the last of them."""
    rules = rules_for(do_sample=True, **bans, **WARPERS["together"])
    logits = np.random.default_rng(7).normal(size=(6, VOCAB_SIZE)).astype(np.float32)
    ids = np.random.default_rng(8).integers(0, 5, (6, 5))
    for ties in (False, True):
        if ties:
            logits[2] = np.round(logits[2])
        asked = request(rules, ids, 1, VOCAB_SIZE, sampled=True)
        assert asked.source == "top"
        assert 21 <= asked.top_k < VOCAB_SIZE
        order = np.argsort(-logits, axis=1, kind="stable")[:, : asked.top_k]
        sums = np.log(np.exp(logits).sum(axis=1))
        found = candidates(asked, StepScores(np.take_along_axis(logits, order, axis=1), order, sums, lambda: logits), log_probs=log_probs)
        assert (found.every_score is not None) == ties
        scattered = np.full(logits.shape, -np.inf, np.float32)
        np.put_along_axis(scattered, found.ids, found.scores, axis=1)
        np.testing.assert_allclose(scattered, every_score(asked, logits, log_probs=log_probs), atol=3e-6)


def test_no_two_rules_share_an_option_name_or_a_place():
    names = [name for options in option_classes() for name in options.__match_args__]
    assert len(set(names)) == len(names)
    places = [options.ORDER for options in option_classes()]
    assert len(set(places)) == len(places)
