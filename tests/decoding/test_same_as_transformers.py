"""The whole search, token for token and score for score, against `model.generate` of tiny random models."""

import numpy as np
import pytest
import torch
from torch_step import TorchStep

from zen_edge.runtimes.decoding import GenerationOptions, run, search

PAD = 59
# float32 sums of up to 14 log-probabilities, by torch and by numpy; a negative length penalty multiplies them by up to 50
SCORE_TOLERANCE = {"rtol": 5e-7, "atol": 1e-5}

# Each takes the tokens that the model likes to generate, for the options that name tokens.
GREEDY = {
    "plain": lambda t: {},
    "no end token": lambda t: {"eos_token_id": None},
    "two end tokens": lambda t: {"eos_token_id": t.ends},
    "max_length": lambda t: {"max_length": 6, "max_new_tokens": None},
    "default length": lambda t: {"max_new_tokens": None, "eos_token_id": None},
    "min_length": lambda t: {"min_length": 6},
    "min_new_tokens": lambda t: {"min_new_tokens": 9, "min_length": 2},
    "no_repeat_ngram 1": lambda t: {"no_repeat_ngram_size": 1},
    "no_repeat_ngram 3": lambda t: {"no_repeat_ngram_size": 3},
    "repetition_penalty": lambda t: {"repetition_penalty": 1.4},
    "repetition_penalty below 1": lambda t: {"repetition_penalty": 0.8, "no_repeat_ngram_size": 2},
    "bad word": lambda t: {"bad_words_ids": [[PAD]]},
    "bad words": lambda t: {"bad_words_ids": [[t.common[0]], [t.common[1]], [t.ends[0]]]},
    "bad words of several tokens": lambda t: {"bad_words_ids": [[t.common[1]], *([a, b] for a in t.common[:6] for b in t.common[:3]), t.common[:3]]},
    "forced_bos": lambda t: {"forced_bos_token_id": t.common[2]},
    "forced_eos": lambda t: {"forced_eos_token_id": t.ends[0], "max_new_tokens": 5},
    "forced both, bad words": lambda t: {"forced_bos_token_id": 5, "forced_eos_token_id": t.ends[0], "bad_words_ids": [[5], [6]]},
    "suppress": lambda t: {"suppress_tokens": t.common[:4]},
    "suppress after forced": lambda t: {"suppress_tokens": [6, 8], "forced_bos_token_id": [5, 6, 7]},
    "begin_suppress": lambda t: {"begin_suppress_tokens": t.common[:9]},
    "begin_suppress after forced_bos": lambda t: {"begin_suppress_tokens": t.common[:9], "forced_bos_token_id": 7},
    "all but few suppressed": lambda t: {"suppress_tokens": [token for token in range(60) if token not in t.common[:3]]},
    "renormalized": lambda t: {"renormalize_logits": True},
    "renormalized after bad words": lambda t: {"renormalize_logits": True, "bad_words_ids": [[PAD], [t.common[0]], [t.common[1]]]},
    "renormalized after few are left": lambda t: {
        "renormalize_logits": True,
        "suppress_tokens": [token for token in range(60) if token not in t.common[:8]],
    },
    "renormalized after a penalty": lambda t: {"renormalize_logits": True, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    "renormalized after forced": lambda t: {"renormalize_logits": True, "forced_bos_token_id": 7, "forced_eos_token_id": t.ends[0]},
    "sequence_bias": lambda t: {
        "sequence_bias": [[[t.common[0]], -1.5], [[t.common[1]], 2.0], [[t.common[1], t.common[2]], 3.0], [t.ends[:1], -0.5]]
    },
    "encoder_no_repeat_ngram 1": lambda t: {"encoder_no_repeat_ngram_size": 1},
    "encoder_no_repeat_ngram 2": lambda t: {"encoder_no_repeat_ngram_size": 2, "min_length": 4},
    "encoder_repetition_penalty": lambda t: {"encoder_repetition_penalty": 1.5},
    "encoder_repetition_penalty below 1": lambda t: {"encoder_repetition_penalty": 0.7, "encoder_no_repeat_ngram_size": 3},
    "exponential_decay": lambda t: {"exponential_decay_length_penalty": (3, 1.2)},
    "exponential_decay after forced": lambda t: {"exponential_decay_length_penalty": (1, 1.3), "forced_eos_token_id": t.ends[0], "min_length": 7},
    "everything": lambda t: {
        "sequence_bias": [[t.common[5:6], 1.5], [t.common[5:7], 2.5]],
        "encoder_repetition_penalty": 1.1,
        "encoder_no_repeat_ngram_size": 3,
        "exponential_decay_length_penalty": (6, 1.1),
        "repetition_penalty": 1.2,
        "no_repeat_ngram_size": 2,
        "bad_words_ids": [[t.common[0]], t.common[1:3]],
        "min_length": 5,
        "forced_bos_token_id": 5,
        "forced_eos_token_id": t.ends[0],
        "suppress_tokens": [t.common[3]],
        "begin_suppress_tokens": t.common[4:7],
    },
}

BEAM = {
    "2": lambda t: {"num_beams": 2},
    "5": lambda t: {"num_beams": 5, "num_return_sequences": 5},
    "3, early": lambda t: {"num_beams": 3, "early_stopping": True, "num_return_sequences": 3},
    "4, never": lambda t: {"num_beams": 4, "early_stopping": "never", "num_return_sequences": 2},
    "length_penalty 0": lambda t: {"num_beams": 4, "length_penalty": 0.0, "num_return_sequences": 4},
    "length_penalty 0, never": lambda t: {"num_beams": 3, "length_penalty": 0.0, "early_stopping": "never"},
    "length_penalty negative": lambda t: {"num_beams": 4, "length_penalty": -1.5, "num_return_sequences": 3},
    "length_penalty negative, never": lambda t: {"num_beams": 4, "length_penalty": -0.5, "early_stopping": "never", "num_return_sequences": 3},
    "length_penalty 2": lambda t: {"num_beams": 4, "length_penalty": 2, "num_return_sequences": 4},
    "length_penalty 2, never": lambda t: {"num_beams": 2, "length_penalty": 2.0, "early_stopping": "never", "num_return_sequences": 2},
    "length_penalty 0.6, early": lambda t: {"num_beams": 5, "length_penalty": 0.6, "early_stopping": True},
    "two end tokens": lambda t: {"num_beams": 3, "eos_token_id": t.ends, "num_return_sequences": 3},
    "two end tokens, early": lambda t: {"num_beams": 4, "eos_token_id": t.ends, "early_stopping": True, "num_return_sequences": 4},
    "no end token": lambda t: {"num_beams": 3, "eos_token_id": None, "num_return_sequences": 2},
    "max_length": lambda t: {"num_beams": 4, "max_length": 5, "max_new_tokens": None, "num_return_sequences": 4},
    "one token": lambda t: {"num_beams": 4, "max_new_tokens": 1, "num_return_sequences": 4},
    "everything, early": lambda t: {**GREEDY["everything"](t), "num_beams": 4, "early_stopping": True, "num_return_sequences": 4},
    **{
        f"{name}, 3 beams": lambda t, options=options: {**options(t), "num_beams": 3, "num_return_sequences": 2}
        for name, options in GREEDY.items()
        if name not in ("plain", "no end token", "two end tokens", "max_length")
    },
}
ALL = GREEDY | {f"beams: {name}": options for name, options in BEAM.items()}


def of_transformers(model, batch, options, prefix=None):
    """Per input the tokens and scores that `model.generate` gives."""
    input_ids, mask = batch
    start = {} if prefix is None else {"decoder_input_ids": torch.tensor(prefix)}
    out = model.generate(input_ids=input_ids, attention_mask=mask, return_dict_in_generate=True, output_scores=True, **start, **options)
    start_length = 1 if prefix is None else len(prefix[0])
    ends = options["eos_token_id"]
    ends = [] if ends is None else [ends] if isinstance(ends, int) else ends
    rows = []
    for place, row in enumerate(out.sequences[:, start_length:].tolist()):
        length = next((at + 1 for at, token in enumerate(row) if token in ends), len(row))
        tokens = row[:length]
        if options.get("num_beams", 1) > 1:
            score = out.sequences_scores[place].item()
        else:
            score = np.mean([scores[place].log_softmax(-1)[token].item() for scores, token in zip(out.scores, tokens, strict=False)])
        rows.append((tokens, score))
    returned = options.get("num_return_sequences", 1)
    return [rows[at : at + returned] for at in range(0, len(rows), returned)]


def of_zen_edge(model, batch, options, prefix=None):
    """The same from our search, with the states it went through and the step it ran on."""
    step = TorchStep(model, [])
    chosen = GenerationOptions.from_defaults(model.generation_config.to_dict(), **options)
    start = np.array(prefix if prefix is not None else [[chosen.start_token_id]] * len(batch[0]), np.int64)
    states = []

    def noted(generator):
        while True:
            try:
                states.append(next(generator))
            except StopIteration as end:
                return end.value
            yield states[-1]

    # With its padding, as `generate` is given it.
    found = run(noted(search(step, step.begin(*batch), start, chosen, vocab_size=60, encoder_ids=batch[0].numpy())))
    return [[(list(one.tokens), one.score) for one in of_input] for of_input in found], states, step


def assert_same(ours, reference):
    assert [[tokens for tokens, _ in of_input] for of_input in ours] == [[tokens for tokens, _ in of_input] for of_input in reference]
    for one, other in zip(ours, reference, strict=True):
        np.testing.assert_allclose([score for _, score in one], [score for _, score in other], **SCORE_TOLERANCE)


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default")  # one case is about just that
@pytest.mark.parametrize("name", ALL)
def test_same_tokens_and_scores(model, batch, tokens, name):
    options = {"max_new_tokens": 14, "eos_token_id": tokens.ends[0], "pad_token_id": PAD, **ALL[name](tokens)}
    reference = of_transformers(model, batch, options)
    ours, states, _ = of_zen_edge(model, batch, options)
    assert_same(ours, reference)

    settled_before = [[] for _ in ours]
    for state in states:
        settled = state.settled()
        for before, now, (best, *_) in zip(settled_before, settled, ours, strict=True):
            assert now[: len(before)] == before
            assert best[0][: len(now)] == now
        settled_before = settled
    if options.get("num_return_sequences", 1) == 1:
        assert settled_before == [best for ((best, _),) in ours]


def test_the_outputs_say_something(model, batch, tokens):
    options = {"max_new_tokens": 14, "eos_token_id": tokens.ends[0], "pad_token_id": PAD}
    rows = [row for ((row, _),) in of_transformers(model, batch, options)]
    assert len({token for row in rows for token in row}) >= 10
    assert min(map(len, rows)) < 10 < max(map(len, rows)) == 14
    beams = [row for of_input in of_transformers(model, batch, {**options, "num_beams": 4, "num_return_sequences": 4}) for row, _ in of_input]
    assert len({token for row in beams for token in row}) >= 10
    assert min(map(len, beams)) < 10


@pytest.mark.parametrize("options", [{}, {"num_beams": 3, "num_return_sequences": 2}, {"num_beams": 2, "max_length": 9, "max_new_tokens": None}])
def test_a_longer_start(model, batch, tokens, options):
    start = model.generation_config.decoder_start_token_id
    prefix = [[start, tokens.common[0], tokens.common[each % 4]] for each in range(len(batch[0]))]
    options = {"max_new_tokens": 8, "eos_token_id": tokens.ends[0], "pad_token_id": PAD, "begin_suppress_tokens": tokens.common[:5], **options}
    options |= {"forced_bos_token_id": 3, "no_repeat_ngram_size": 2, "min_new_tokens": 3}
    assert_same(of_zen_edge(model, batch, options, prefix)[0], of_transformers(model, batch, options, prefix))


def test_one_input_alone(model, batch, tokens):
    one = (batch[0][1:2, :4], batch[1][1:2, :4])
    options = {"max_new_tokens": 14, "eos_token_id": tokens.ends[0], "pad_token_id": PAD, "num_beams": 4}
    assert_same(of_zen_edge(model, one, options)[0], of_transformers(model, one, options))


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}])
def test_bans_never_read_every_score(model, batch, tokens, options):
    options = {"max_new_tokens": 14, "eos_token_id": tokens.ends[0], "pad_token_id": PAD, "bad_words_ids": [[PAD]], "min_length": 4, **options}
    step = TorchStep(model, [])
    chosen = GenerationOptions.from_defaults(model.generation_config.to_dict(), **options)
    start = np.full((len(batch[0]), 1), chosen.start_token_id, np.int64)
    run(search(step, step.begin(*batch), start, chosen, vocab_size=60, scores=False))
    assert not any(read for *_, read in step.calls)
    assert [rows for rows, *_ in step.calls[:2]] == [len(batch[0]), len(batch[0]) * chosen.num_beams]


@pytest.mark.parametrize(
    "name", ["plain", "no_repeat_ngram 3", "repetition_penalty", "bad words", "forced both, bad words", "renormalized", "everything"]
)
@pytest.mark.parametrize("num_beams", [1, 3])
def test_the_log_probability_of_each_token(model, batch, tokens, name, num_beams):
    options = {"max_new_tokens": 10, "eos_token_id": tokens.ends[0], "pad_token_id": PAD, "num_beams": num_beams, **GREEDY[name](tokens)}
    input_ids, mask = batch
    out = model.generate(
        input_ids=input_ids, attention_mask=mask, num_return_sequences=num_beams, return_dict_in_generate=True, output_scores=True, **options
    )
    expected = model.compute_transition_scores(out.sequences, out.scores, out.get("beam_indices"), normalize_logits=True)
    step = TorchStep(model, [])
    chosen = GenerationOptions.from_defaults(model.generation_config.to_dict(), num_return_sequences=num_beams, **options)
    start = np.full((len(input_ids), 1), chosen.start_token_id, np.int64)
    found = run(search(step, step.begin(*batch), start, chosen, vocab_size=60, scores=False, encoder_ids=input_ids.numpy(), token_log_probs=True))
    rows = [one for of_input in found for one in of_input]
    for one, theirs in zip(rows, expected.tolist(), strict=True):
        np.testing.assert_allclose(one.log_probs, theirs[: len(one.tokens)], atol=2e-5)
        if num_beams == 1:
            assert one.score == pytest.approx(np.mean(one.log_probs))
    assert any(len(one.tokens) > 3 for one in rows)


@pytest.mark.parametrize("options", [{}, {"num_return_sequences": 2}, {"num_beams": 3, "num_return_sequences": 2}])
def test_sampling_among_one_token_is_greedy(model, batch, tokens, options):
    """With top_k=1 nothing is left to chance, nor among the few continuations that a beam of such tokens has."""
    options = {"max_new_tokens": 14, "eos_token_id": tokens.ends[0], "pad_token_id": PAD, "no_repeat_ngram_size": 2, **options}
    if options.get("num_beams", 1) == 1:
        reference = of_transformers(model, batch, {name: value for name, value in options.items() if name != "num_return_sequences"})
        ours, states, _ = of_zen_edge(model, batch, {**options, "do_sample": True, "top_k": 1})
        assert [[row for row, _ in of_input] for of_input in ours] == [
            [row for row, _ in of_input] * options.get("num_return_sequences", 1) for of_input in reference
        ]
        assert states[-1].settled() == [of_input[0][0] for of_input in reference]
        assert {score for of_input in ours for _, score in of_input} == {0.0}
    else:
        ours, _, _ = of_zen_edge(model, batch, {**options, "do_sample": True, "top_k": 1, "seed": 0})
        assert all(len(of_input) == 2 for of_input in ours)
