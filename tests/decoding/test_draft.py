"""Draft tokens: what is looked up, and that the search's tokens are those of plain greedy search for fewer steps."""

import itertools

import numpy as np
import pytest
from fake_step import FakeStep, begin

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding import GenerationOptions, run, search
from zen_edge.runtimes.decoding.draft import LookUp

WORDS, START, END = 40, 1, 2
SOURCE = [5, 6, 7, 8, 9, 10, 11, 12, 6, 7, 30, 31, END]


@pytest.mark.parametrize(
    ("output", "count", "expected"),
    [
        ([], 4, []),
        ([20], 4, []),
        ([5], 3, [6, 7, 8]),
        ([6, 7], 3, [8, 9, 10]),  # the first place in the source
        ([9, 6, 7], 3, [8, 9, 10]),
        ([12, 6, 7], 3, [30, 31, END]),  # a longer match wins over an earlier one
        ([6, 7, 20, 21, 6, 7], 3, [20, 21, 6]),  # what was said before wins over the source
        ([20, 21, 20, 22, 20], 2, [22, 20]),  # at its latest place
        ([31], 3, [END]),
        ([END], 3, []),  # nothing follows the source's last token
        ([5], 0, []),
        ([5], -1, []),
    ],
)
def test_what_is_looked_up(output, count, expected):
    before = LookUp(SOURCE, 3)
    for token in output:
        before.add(token)
    assert before.draft(count) == expected


class FakeVerifier:
    """The same decoder as `FakeStep`, with its cache cut and its positions counted."""

    def __init__(self, scores, positions=10**6):
        self.step, self.positions, self.widths = FakeStep(scores), positions, []

    def step_each(self, ids, cache, *, top_k, log_sum_exp):
        self.widths.append(ids.shape[1])
        each = []
        for place in range(ids.shape[1]):
            scores, cache = self.step(ids[:, place : place + 1], cache, top_k=top_k, log_sum_exp=log_sum_exp, beam_index=None, input_index=None)
            each.append(scores)
        assert len(cache[1][0]) <= self.positions
        return each, cache

    def cut(self, cache, length):
        inputs, (row,) = cache
        return inputs, (row[:length],)

    def positions_left(self, cache):
        return self.positions - len(cache[1][0])


def copying(seed):
    """Scores that follow the source most of the time, and jump where chance says so."""

    def scores(_, row):
        random = np.random.default_rng([seed, *row])
        found = random.standard_normal(WORDS)
        follow = [after for token, after in itertools.pairwise(SOURCE) if token == row[-1]]
        if follow and random.random() < 0.8:
            found[follow[random.integers(len(follow))]] += 5
        return found.tolist()

    return scores


OPTIONS = [
    {},
    {"no_repeat_ngram_size": 2},
    {"bad_words_ids": [[7, 8], [30]], "min_new_tokens": 9},
    {"forced_eos_token_id": END, "forced_bos_token_id": 5},
    {"repetition_penalty": 1.7},
    {"exponential_decay_length_penalty": (6, 1.2)},
]


@pytest.mark.parametrize("options", OPTIONS, ids=[",".join(one) or "plain" for one in OPTIONS])
@pytest.mark.parametrize("count", [1, 3, 7])
def test_the_tokens_are_those_of_greedy_search(options, count):
    saved = 0
    for seed in range(30):
        chosen = {"max_new_tokens": 24, "eos_token_id": END, "pad_token_id": 0, **options}
        plain, drafting = FakeStep(copying(seed)), FakeVerifier(copying(seed))
        start = np.array([[START]])
        given = {"vocab_size": WORDS, "encoder_ids": [SOURCE], "token_log_probs": True}
        ((expected,),) = run(search(plain, begin(1), start, GenerationOptions.from_defaults({}, **chosen), **given))
        chosen["prompt_lookup_num_tokens"] = count
        ((found,),) = run(search(plain, begin(1), start, GenerationOptions.from_defaults({}, **chosen), verifier=drafting, **given))
        assert found.tokens == expected.tokens
        assert found.log_probs == pytest.approx(expected.log_probs, abs=1e-5)
        assert found.score == pytest.approx(expected.score, abs=1e-5)
        saved += len(expected.tokens) - len(drafting.widths)
        assert len(drafting.widths) <= len(expected.tokens)
        assert max(drafting.widths) <= count + 1
    assert saved > 30


def test_the_model_is_never_given_more_positions_than_it_has():
    for seed in range(30):
        drafting = FakeVerifier(copying(seed), positions=12)
        options = GenerationOptions.from_defaults({}, max_new_tokens=12, eos_token_id=END, prompt_lookup_num_tokens=6, min_new_tokens=12)
        ((found,),) = run(
            search(FakeStep(copying(seed)), begin(1), np.array([[START]]), options, vocab_size=WORDS, encoder_ids=[SOURCE], verifier=drafting)
        )
        assert len(found.tokens) == 12


def test_ids_beyond_the_vocabulary_are_never_tried():
    """The source's ids may be those of another, larger vocabulary."""
    foreign = [token if token % 3 else token + WORDS for token in SOURCE]
    proposed = 0
    for seed in range(30):
        drafting = FakeVerifier(copying(seed))
        step_each, given = drafting.step_each, []
        drafting.step_each = lambda ids, cache, step_each=step_each, given=given, **asked: given.append(ids) or step_each(ids, cache, **asked)
        options = GenerationOptions.from_defaults({}, max_new_tokens=24, eos_token_id=END, prompt_lookup_num_tokens=6)
        around = {"vocab_size": WORDS, "encoder_ids": [foreign]}
        ((found,),) = run(search(FakeStep(copying(seed)), begin(1), np.array([[START]]), options, verifier=drafting, **around))
        ((expected,),) = run(
            search(
                FakeStep(copying(seed)),
                begin(1),
                np.array([[START]]),
                GenerationOptions.from_defaults({}, max_new_tokens=24, eos_token_id=END),
                **around,
            )
        )
        assert found.tokens == expected.tokens
        assert all(ids.max() < WORDS for ids in given)
        proposed += sum(ids.shape[1] > 1 for ids in given)
    assert proposed > 30  # what comes before them is


def test_it_goes_on_from_a_longer_start():
    options = GenerationOptions.from_defaults({}, max_new_tokens=10, eos_token_id=END, prompt_lookup_num_tokens=4)
    start = np.array([[START, 5, 6]])
    given = {"vocab_size": WORDS, "encoder_ids": [SOURCE]}
    ((found,),) = run(search(FakeStep(copying(3)), begin(1), start, options, verifier=FakeVerifier(copying(3)), **given))
    ((expected,),) = run(search(FakeStep(copying(3)), begin(1), start, options, **given))
    assert found.tokens == expected.tokens


def test_each_state_holds_what_is_settled():
    options = GenerationOptions.from_defaults({}, max_new_tokens=20, eos_token_id=END, prompt_lookup_num_tokens=4)
    steps = search(
        FakeStep(copying(0)), begin(1), np.array([[START]]), options, vocab_size=WORDS, encoder_ids=[SOURCE], verifier=FakeVerifier(copying(0))
    )
    seen = []
    while True:
        try:
            seen.append(next(steps).settled()[0])
        except StopIteration as end:
            assert tuple(seen[-1]) == end.value[0][0].tokens
            break
    assert all(later[: len(earlier)] == earlier and len(later) > len(earlier) for earlier, later in itertools.pairwise(seen))


@pytest.mark.parametrize("options", [{"num_beams": 2}, {"do_sample": True}])
def test_it_is_for_greedy_search(options):
    with pytest.raises(OptionError, match="prompt_lookup_num_tokens is for greedy search"):
        GenerationOptions.from_defaults({}, prompt_lookup_num_tokens=3, **options)
