"""Sampling: transformers' distribution, reproducible by seed whatever else is in the batch."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_step import FakeStep, begin
from torch_step import TorchStep
from transformers import GenerationConfig
from transformers.generation import GenerationMixin

from zen_edge.runtimes.decoding import GenerationOptions, run, search
from zen_edge.runtimes.decoding.sampling import draw

VOCAB_SIZE, START, END = 7, 6, 0
# The chance of a wrong alarm; seeds are fixed, so a test that passes once passes always.
ALARM = 1e-3


def scores_of(each, ids):
    return np.random.default_rng((each, *ids)).normal(size=VOCAB_SIZE).astype(np.float32) * 1.5


def search_with(scores=scores_of, inputs=1, *, encoder_ids=None, token_log_probs=False, **options):
    step = FakeStep(scores)
    chosen = GenerationOptions.from_defaults({}, **{"eos_token_id": END, "max_new_tokens": 3, "do_sample": True, "seed": 1} | options)
    start = np.full((inputs, 1), START, np.int64)
    made = search(step, begin(inputs), start, chosen, vocab_size=VOCAB_SIZE, encoder_ids=encoder_ids, token_log_probs=token_log_probs)
    return made, step


def tokens_of(found):
    return [[one.tokens for one in of_input] for of_input in found]


def chi_square_alarm(counts, expected):
    """Whether counts are too far from expected ones; outcomes expected less than five times are taken together."""
    rare = [outcome for outcome, number in expected.items() if number < 5]
    pairs = [(counts[outcome], number) for outcome, number in expected.items() if number >= 5]
    if rare:
        pairs.append((sum(counts[outcome] for outcome in rare), max(sum(expected[outcome] for outcome in rare), 1.0)))
    assert not counts.keys() - expected.keys()
    statistic = sum((seen - number) ** 2 / number for seen, number in pairs)
    freedom = torch.tensor(len(pairs) - 1.0)
    return torch.special.gammaincc(freedom / 2, torch.tensor(statistic / 2)).item() < ALARM


class OfEncoderDecoder(GenerationMixin):
    config = SimpleNamespace(is_encoder_decoder=True)


def exact(options, steps=3):
    """The probability of every sequence of the first input, by transformers' own filters."""
    config = GenerationConfig(do_sample=True, eos_token_id=END, max_length=1 + steps, **options)
    config._eos_token_tensor = torch.tensor([END])
    processors = OfEncoderDecoder()._get_logits_processor(config, input_ids_seq_length=1)
    paths, done = {(START,): 1.0}, {}
    for place in range(steps):
        longer = {}
        for ids, probability in paths.items():
            left = processors(torch.tensor([ids]), torch.from_numpy(scores_of(0, ids))[None]).softmax(-1)[0].tolist()
            for token, share in enumerate(left):
                if share:
                    (done if token == END or place == steps - 1 else longer)[(*ids, token)] = probability * share
        paths = longer
    return {ids[1:]: probability for ids, probability in done.items()}


OPTIONS = {
    "plain": {"top_k": 0},
    "default": {},
    "temperature": {"temperature": 1.7, "top_k": 0},
    "top_k": {"top_k": 3},
    "top_p": {"top_k": 4, "top_p": 0.7, "temperature": 0.8},
    "after rules": {"top_k": 3, "no_repeat_ngram_size": 1, "suppress_tokens": [2], "renormalize_logits": True},
    "after a forced token": {"top_k": 3, "forced_bos_token_id": 4},
    "after a penalty": {"repetition_penalty": 1.5, "min_p": 0.1},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_the_distribution_is_that_of_transformers(name):
    draws = 3000
    (found,) = run(search_with(num_return_sequences=draws, **OPTIONS[name])[0])
    probabilities = exact(OPTIONS[name])
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
    counts = Counter(one.tokens for one in found)
    assert not chi_square_alarm(counts, {tokens: draws * probability for tokens, probability in probabilities.items()})
    assert chi_square_alarm(counts, {tokens: draws / len(probabilities) for tokens in probabilities}), "the test would not see a flat draw"
    if not {"suppress_tokens", "forced_bos_token_id", "repetition_penalty"} & OPTIONS[name].keys():
        for one in found[:50]:  # the score is that of the processed scores
            assert one.score * len(one.tokens) == pytest.approx(np.log(probabilities[one.tokens]), abs=1e-4)


def test_sampling_beams_is_that_of_transformers(model, batch, tokens):
    """Against `generate` itself, both drawn many times: the same first tokens and lengths, within chance."""
    one = (batch[0][:1], batch[1][:1])
    options = {"max_new_tokens": 3, "eos_token_id": tokens.ends[0], "pad_token_id": 59, "num_beams": 2, "top_k": 4, "temperature": 3.0}
    repeats = 250
    torch.manual_seed(5)
    many = (one[0].repeat(repeats, 1), one[1].repeat(repeats, 1))
    theirs = model.generate(input_ids=many[0], attention_mask=many[1], do_sample=True, **options)[:, 1:].tolist()
    chosen = GenerationOptions.from_defaults(model.generation_config.to_dict(), do_sample=True, seed=3, **options)
    step = TorchStep(model, [])
    start = np.full((repeats, 1), chosen.start_token_id, np.int64)
    ours = run(search(step, step.begin(*many), start, chosen, vocab_size=60))
    seen = Counter(best.tokens[:2] for best, *_ in ours)
    expected = Counter(tuple(row[: row.index(tokens.ends[0]) + 1] if tokens.ends[0] in row else row)[:2] for row in theirs)
    assert len(expected) >= 4
    # Two samples of the same size: the differences of counts have the variance of their sum.
    pairs = [(seen[one], expected[one]) for one in seen.keys() | expected.keys() if seen[one] + expected[one] >= 10]
    statistic = sum((one - other) ** 2 / (one + other) for one, other in pairs)
    assert torch.special.gammaincc(torch.tensor(len(pairs) / 2), torch.tensor(statistic / 2)).item() > ALARM


def test_draws_without_replacement():
    """The first two of three, with the probabilities of drawing one after the other."""
    shares = np.array([0.5, 0.3, 0.2])
    count = 4000
    scores = np.tile(np.log(shares).astype(np.float32), (count, 1))
    drawn = draw(scores, np.tile([5, 2, 9], (count, 1)), np.random.default_rng(0).random((count, 2)))
    expected = {(one, other): count * shares[one] * shares[other] / (1 - shares[one]) for one in range(3) for other in range(3) if one != other}
    assert not chi_square_alarm(Counter(map(tuple, drawn.tolist())), expected)


def test_a_draw_does_not_depend_on_how_candidates_come():
    rng = np.random.default_rng(0)
    scores, ids, uniforms = rng.normal(size=(5, 8)).astype(np.float32), np.tile(np.arange(8), (5, 1)), rng.random((5, 3))
    expected = draw(scores, ids, uniforms)
    order = rng.permuted(np.tile(np.arange(8), (5, 1)), axis=1)
    shuffled = draw(np.take_along_axis(scores, order, axis=1), order, uniforms)
    np.testing.assert_array_equal(np.take_along_axis(order, shuffled, axis=1), expected)
    wider = np.concatenate((scores, np.full((5, 4), -np.inf, np.float32)), axis=1)
    np.testing.assert_array_equal(draw(wider, np.tile([3, 9, 1, 10, 4, 6, 8, 2, 0, 5, 7, 11], (5, 1)), uniforms) < 8, True)


def test_a_draw_takes_the_impossible_only_when_nothing_else_is_left():
    scores = np.array([[-np.inf, 0.0, -np.inf, -1e9]], np.float32)
    assert draw(scores, np.arange(4)[None], np.full((1, 2), 0.999)).tolist() == [[1, 3]]


@pytest.mark.parametrize(
    "options", [{"num_return_sequences": 3}, {"num_beams": 2, "num_return_sequences": 2}, {"num_return_sequences": 2, "top_k": 3}]
)
def test_a_seed_decides_whatever_else_is_in_the_batch(options):
    """Same input, same options, same seed: the same sequences, alone or among others, wherever it stands; bans of others change nothing."""
    encoder_ids = [[4, 1], [2], [4, 1], [5, 5, 5], [3]]
    known = {tuple(row): place for place, row in enumerate(map(tuple, encoder_ids))}

    def by_content(rows):
        return lambda each, ids: scores_of(known[tuple(rows[each])], ids)

    options = {"max_new_tokens": 6, "no_repeat_ngram_size": 2, **options}
    together = run(search_with(by_content(encoder_ids), 5, encoder_ids=encoder_ids, **options)[0])
    assert together[0] == together[2]
    for each, row in enumerate(encoder_ids):
        assert run(search_with(by_content([row]), encoder_ids=[row], **options)[0]) == [together[each]]
    backwards = run(search_with(by_content(encoder_ids[::-1]), 5, encoder_ids=encoder_ids[::-1], **options)[0])
    assert backwards == together[::-1]
    other = run(search_with(by_content(encoder_ids), 5, encoder_ids=encoder_ids, **options, **{"seed": 2})[0])
    assert tokens_of(other) != tokens_of(together)


def test_without_a_seed_every_call_differs():
    options = {"num_return_sequences": 20, "max_new_tokens": 6}
    found = [
        tokens_of(run(search_with(lambda _, ids: scores_of(0, ids), seed=seed, inputs=2, encoder_ids=[[1], [1]], **options)[0]))
        for seed in (None, None, 1, 1)
    ]
    assert found[0] != found[1]
    assert found[2] == found[3]
    assert len({tokens for of_input in found[0] for tokens in of_input}) > 5
    assert found[2][0] == found[2][1]  # the same input, the same seed
    assert found[0][0] != found[0][1]


def test_the_best_candidates_are_enough_with_top_k():
    made, step = search_with(num_return_sequences=4, inputs=3, top_k=2, max_new_tokens=5)
    run(made)
    assert {(call["top_k"], call["log_sum_exp"], call["read_all"]) for call in step.calls} == {(3, False, False)}
    assert [len(call["rows"]) for call in step.calls[:2]] == [3, 12]
    assert step.calls[1]["beam_index"].tolist() == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize("count", [1, 3])
def test_finished_inputs_leave_once_all_their_sequences_are_done(count):
    def scores(each, ids):
        row = np.full(VOCAB_SIZE, -50, np.float32)
        row[END if len(ids) > 1 + each % 4 else 3] = 1
        return row

    made, step = search_with(scores, inputs=8, num_return_sequences=count, max_new_tokens=9)
    found = run(made)
    assert tokens_of(found) == [[(3,) * (1 + each % 4) + (END,)] * count for each in range(8)]
    assert [len(call["inputs"]) for call in step.calls] == [8, 8, 6, 4, 2]
    assert [len(call["rows"]) for call in step.calls] == [8, 8 * count, 6 * count, 4 * count, 2 * count]
    assert step.calls[3]["inputs"] == (2, 3, 6, 7)


def test_states_while_sampling():
    made, _ = search_with(inputs=3, num_return_sequences=2, max_new_tokens=6, token_log_probs=True)
    settled, finished = [], []
    while True:
        try:
            state = next(made)
        except StopIteration as end:
            found = end.value
            break
        settled.append(state.settled())
        finished.append(state.finished())
    for before, after in zip(settled, [*settled[1:], [list(of_input[0].tokens) for of_input in found]], strict=True):
        assert all(now[: len(then)] == then for then, now in zip(before, after, strict=True))
    assert finished[-1] == found
    assert finished[0] == [None, None, None] or any(finished[0])
    for of_input in found:
        for one in of_input:
            assert len(one.log_probs) == len(one.tokens)
            assert one.score == pytest.approx(np.mean(one.log_probs))


def test_nothing_allowed_and_nobody_there():
    everything = {"suppress_tokens": list(range(VOCAB_SIZE)), "top_k": 3}
    for options in ({}, {"repetition_penalty": 2.0}):
        ((one,),) = run(search_with(**everything, **options)[0])
        assert (one.tokens, one.score) == ((0,), -np.inf)
    for options in ({}, {"num_beams": 2}):
        assert run(search_with(inputs=0, **options)[0]) == []
