"""What a search would return if it ended at a step: what transformers returns when a stopping criterion ends it there; of an input that is done
at that step what it was going to return anyway."""

from itertools import islice

import numpy as np
import pytest
import torch
from fake_step import FakeStep, begin
from test_same_as_transformers import ALL, PAD, SCORE_TOLERANCE
from torch_step import TorchStep
from transformers import StoppingCriteria, StoppingCriteriaList

from zen_edge.runtimes.decoding import GenerationOptions, search

GREEDY = ("plain", "two end tokens", "repetition_penalty", "bad words", "everything", "renormalized")
NAMES = [name for name in ALL if name in GREEDY or (name.startswith("beams: ") and "3 beams" not in name and name != "beams: one token")]


class AtStep(StoppingCriteria):
    def __init__(self, length):
        self.length = length

    def __call__(self, input_ids, scores, **options):
        return torch.full((len(input_ids),), input_ids.shape[1] >= self.length, device=input_ids.device)


@pytest.mark.parametrize("steps", [1, 3, 6])
@pytest.mark.parametrize("name", NAMES)
def test_so_far_is_what_a_stopping_criterion_leaves(model, batch, tokens, name, steps):
    options = {"max_new_tokens": 14, "eos_token_id": tokens.ends[0], "pad_token_id": PAD, **ALL[name](tokens)}
    input_ids = batch[0]
    chosen = GenerationOptions.from_defaults(model.generation_config.to_dict(), **options)
    step = TorchStep(model, [])
    start = np.full((len(input_ids), 1), chosen.start_token_id, np.int64)
    running = search(step, step.begin(*batch), start, chosen, vocab_size=60, encoder_ids=input_ids.numpy(), token_log_probs=True)
    *_, state = islice(running, steps)  # fewer where all have ended before
    stopped = rows_of_transformers(model, batch, chosen, options, StoppingCriteriaList([AtStep(1 + steps)]))
    whole = rows_of_transformers(model, batch, chosen, options, StoppingCriteriaList())
    for place, (found, over) in enumerate(zip(state.so_far(), state.finished(), strict=True)):
        of_input = slice(place * chosen.num_return_sequences, (place + 1) * chosen.num_return_sequences)
        for one, (row, log_probs, score) in zip(found, (whole if over else stopped)[of_input], strict=True):
            if score is not None and score < -1e8:  # an empty place: one token was forced, and no second beam is there yet
                assert one.score < -1e8
                continue
            assert one.tokens == row
            np.testing.assert_allclose(one.log_probs, log_probs, atol=2e-5)
            np.testing.assert_allclose(one.score, np.mean(one.log_probs) if score is None else score, **SCORE_TOLERANCE)


def rows_of_transformers(model, batch, chosen, options, criteria):
    """(tokens, their log-probabilities, the score of a beam) of each sequence."""
    input_ids, mask = batch
    how = {"return_dict_in_generate": True, "output_scores": True, "stopping_criteria": criteria}
    out = model.generate(input_ids=input_ids, attention_mask=mask, **how, **options)
    log_probs = model.compute_transition_scores(out.sequences, out.scores, out.get("beam_indices"), normalize_logits=True).tolist()
    scores = out.sequences_scores.tolist() if chosen.num_beams > 1 else [None] * len(log_probs)
    rows = []
    for row, each, score in zip(out.sequences[:, 1:].tolist(), log_probs, scores, strict=True):
        length = next((at + 1 for at, token in enumerate(row) if token in chosen.eos_token_ids), len(row))
        rows.append((tuple(row[:length]), each[:length], score))
    return rows


@pytest.mark.parametrize("options", [{}, {"num_beams": 3, "num_return_sequences": 2}, {"do_sample": True, "seed": 1, "num_return_sequences": 2}])
def test_the_last_state_says_what_the_search_returns(options):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(4, 9, 8)).astype(np.float32) * 2
    chosen = GenerationOptions(eos_token_id=0, max_new_tokens=8, **options)
    running = search(FakeStep(lambda each, ids: table[each, len(ids) - 1]), begin(4), np.full((4, 1), 7, np.int64), chosen, vocab_size=8)
    state, returned = None, None
    while returned is None:
        try:
            state = next(running)
        except StopIteration as end:
            returned = end.value
    assert state.so_far() == returned == state.finished()


def test_what_has_ended_is_no_beam():
    """Nothing but the end token comes second: it stands where a beam would go on, and is returned once."""
    chosen = GenerationOptions(num_beams=2, num_return_sequences=2, eos_token_id=0, max_new_tokens=5)

    def four_or_the_end(each, ids):
        return [0.0 if token in (0, 4) else -np.inf for token in range(8)]

    state = next(search(FakeStep(four_or_the_end), begin(1), np.full((1, 1), 7, np.int64), chosen, vocab_size=8))
    assert sorted(one.tokens for one in state.so_far()[0]) == [(0,), (4,)]
