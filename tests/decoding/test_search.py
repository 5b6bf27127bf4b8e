"""The searches over hand-made scores: what they ask of the step, when they stop, and what they do where scores fail them."""

import gc
import threading
import weakref

import numpy as np
import pytest
from fake_step import FakeStep, begin

from zen_edge.errors import OptionError, ZenEdgeError
from zen_edge.runtimes.decoding import GenerationOptions, run, search

START, END = 9, 0
VOCAB_SIZE = 10


def search_with(scores, inputs=1, *, vocab_size=VOCAB_SIZE, with_scores=True, **options):
    step = FakeStep(scores)
    chosen = GenerationOptions(**{"eos_token_id": END, "max_new_tokens": 8, "pad_token_id": 8} | _own(options), rules=_rules(options))
    start = np.full((inputs, 1), START % vocab_size, np.int64)
    return search(step, begin(inputs), start, chosen, vocab_size=vocab_size, scores=with_scores), step


def _own(options):
    return {name: value for name, value in options.items() if name in GenerationOptions.__dataclass_fields__}


def _rules(options):
    return GenerationOptions.from_defaults({}, **{name: value for name, value in options.items() if name not in _own(options)}).rules


def tokens_of(found):
    return [[list(one.tokens) for one in of_input] for of_input in found]


def table(*best, vocab_size=VOCAB_SIZE):
    """Scores under which the row at step n likes best[n] most, and lower ids more than higher ones among the others."""

    def scores(_, ids):
        row = -np.arange(vocab_size, dtype=np.float32) - 3
        row[best[min(len(ids) - 1, len(best) - 1)]] = 1
        return row

    return scores


def ending_after(lengths):
    """Input n says 5 until it has lengths[n] tokens, the end token included."""

    def scores(each, ids):
        row = table(*[5] * (lengths[each] - 1), END)(each, ids)
        if row[END] < 1:
            row[END] = -50
        return row

    return scores


def test_greedy_takes_the_best_until_the_end_token():
    found, step = search_with(table(3, 4, END))
    assert tokens_of(run(found)) == [[[3, 4, END]]]
    assert [call["rows"] for call in step.calls] == [((9,),), ((9, 3),), ((9, 3, 4),)]
    assert {(call["top_k"], call["log_sum_exp"], call["read_all"]) for call in step.calls} == {(1, True, False)}


def test_greedy_without_scores_asks_for_no_sums():
    found, step = search_with(table(3, END), with_scores=False)
    assert np.isnan(run(found)[0][0].score)
    assert not any(call["log_sum_exp"] for call in step.calls)


@pytest.mark.parametrize("num_beams", [1, 2, 3])
def test_finished_inputs_leave_together(num_beams):
    """Once a quarter of the inputs is done they leave; fewer ride along, and beam_index stays None where rows stay as they are."""
    lengths = [2, 6, 3, 6, 6, 6, 6, 6]
    found, step = search_with(ending_after(lengths), inputs=8, num_beams=num_beams, early_stopping=True, length_penalty=0.0)
    best = [of_input[0] for of_input in tokens_of(run(found))]
    assert best == [[5] * (length - 1) + [END] for length in lengths]
    counts = [len(call["inputs"]) for call in step.calls]
    assert counts[:3] == [8, 8, 8]
    assert min(counts) == 6
    if num_beams == 1:
        assert counts == [8, 8, 8, 6, 6, 6]
        assert [call["beam_index"] is None for call in step.calls] == [True, True, True, False, True, True]
        assert step.calls[2]["rows"][0] == (9, 5, END)
        assert step.calls[3]["inputs"] == (1, 3, 4, 5, 6, 7)
    else:
        assert len(step.calls[0]["rows"]) == 8
        assert len(step.calls[1]["rows"]) == 8 * num_beams


@pytest.mark.parametrize("num_beams", [1, 3])
def test_results_do_not_depend_on_the_batch(num_beams):
    def scores(each, ids):
        return np.random.default_rng((each, *ids)).normal(size=VOCAB_SIZE).astype(np.float32) * 2

    options = {"num_beams": num_beams, "no_repeat_ngram_size": 2, "length_penalty": 0.7}
    together = run(search_with(scores, inputs=7, **options)[0])
    for each in range(7):
        alone = run(search_with(lambda _, ids, each=each: scores(each, ids), **options)[0])
        assert alone == [together[each]]


def test_ties_go_to_the_lower_id_on_both_paths():
    def flat(_, ids):
        return np.zeros(VOCAB_SIZE, np.float32)

    fast, step = search_with(flat, suppress_tokens=[0, 2], max_new_tokens=2)
    assert tokens_of(run(fast)) == [[[1, 1]]]
    # with scores, the banned tokens that are not among the candidates have to be read
    assert step.calls[0]["read_all"] is False
    slow, step = search_with(flat, suppress_tokens=[0, 2], repetition_penalty=2.0, max_new_tokens=2)
    assert tokens_of(run(slow)) == [[[1, 1]]]
    assert step.calls[0]["read_all"] is True


def test_greedy_score_counts_the_allowed_tokens_only():
    row = np.log(np.array([0.1, 0.4, 0.2, 0.2, 0.1], np.float32))
    for suppressed, expected in (([], 0.4), ([2], 0.4 / 0.8), ([1], 0.2 / 0.6), ([4], 0.4 / 0.9), ([1, 2, 3], 0.1 / 0.2)):
        found, _ = search_with(lambda _, ids: row, vocab_size=5, suppress_tokens=suppressed, max_new_tokens=1)
        assert run(found)[0][0].score == pytest.approx(np.log(expected), abs=1e-6)


def test_a_forced_step_reads_no_scores():
    found, step = search_with(table(3, 4, 5), forced_bos_token_id=7, forced_eos_token_id=END, max_new_tokens=4)
    (one,) = run(found)[0]
    assert one.tokens == (7, 4, 5, END)
    assert not any(call["read_all"] for call in step.calls)
    free = [1 - np.log(np.exp(table(best)(0, (START,))).sum()) for best in (4, 5)]  # the forced ones count as log(1)
    assert one.score == pytest.approx(sum(free) / 4, abs=1e-6)


def test_many_bans_take_the_slow_path():
    found, step = search_with(table(700, vocab_size=1000), vocab_size=1000, suppress_tokens=list(range(500, 800)), max_new_tokens=2)
    assert tokens_of(run(found)) == [[[0]]]
    assert step.calls[0]["read_all"]
    assert step.calls[0]["top_k"] == 1


@pytest.mark.parametrize("vocab_size", [1, 2, 3])
@pytest.mark.parametrize("num_beams", [1, 4])
def test_a_vocabulary_smaller_than_the_candidates(vocab_size, num_beams):
    found, step = search_with(
        table(vocab_size - 1, vocab_size=vocab_size), vocab_size=vocab_size, num_beams=num_beams, num_return_sequences=num_beams, max_new_tokens=3
    )
    (of_input,) = run(found)
    assert len(of_input) == num_beams
    assert all(len(one.tokens) <= 3 for one in of_input)
    assert max(call["top_k"] for call in step.calls) <= vocab_size


@pytest.mark.parametrize("options", [{}, {"repetition_penalty": 1.5}])
def test_all_banned_ends_without_an_error(options):
    everything = {"suppress_tokens": list(range(VOCAB_SIZE))}
    (greedy,) = run(search_with(table(3), **everything, **options)[0])[0]
    assert greedy.tokens == (0,)  # torch.argmax of equal scores
    assert greedy.score == -np.inf
    (beam,) = run(search_with(table(3), num_beams=3, **everything, **options)[0])[0]
    assert (beam.tokens, beam.score) == ((), -1e9)


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("options", [{}, {"repetition_penalty": 1.5}])
def test_nan_is_named(num_beams, options):
    def scores(each, ids):
        return np.full(VOCAB_SIZE, np.nan if len(ids) == 3 and each == 1 else 0.5, np.float32)

    found, _ = search_with(scores, inputs=2, num_beams=num_beams, eos_token_id=None, **options)
    with pytest.raises(ZenEdgeError, match=r"NaN or infinite\) in row"):
        run(found)


@pytest.mark.parametrize("value", [-np.inf, np.inf])
@pytest.mark.parametrize(
    "options", [{}, {"num_beams": 2}, {"with_scores": False}, {"repetition_penalty": 1.5}, {"num_beams": 2, "repetition_penalty": 1.5}]
)
def test_infinite_scores_are_named(value, options):
    with pytest.raises(ZenEdgeError, match="infinite"):
        run(search_with(lambda *_: np.full(VOCAB_SIZE, value), **options)[0])


@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"top_k": 0}, {"num_beams": 2}])
def test_sampling_names_them_too(options):
    chosen = GenerationOptions.from_defaults({}, do_sample=True, **options)
    for value in (np.nan, np.inf, -np.inf):
        step = FakeStep(lambda *_, value=value: np.full(VOCAB_SIZE, value))
        with pytest.raises(ZenEdgeError, match="infinite"):
            run(search(step, begin(1), np.full((1, 1), START), chosen, vocab_size=VOCAB_SIZE))


@pytest.mark.parametrize("num_beams", [1, 3])
def test_some_scores_may_be_minus_infinity(num_beams):
    def scores(_, ids):
        return np.array([-np.inf] * 8 + [0.0, 1.0], np.float32)

    found, _ = search_with(scores, num_beams=num_beams, max_new_tokens=3, no_repeat_ngram_size=2)
    assert tokens_of(run(found))[0][0][0] in (8, 9)


def test_one_allowed_sequence_fills_every_place():
    found, _ = search_with(table(3), num_beams=3, num_return_sequences=3, forced_bos_token_id=7, max_new_tokens=1)
    assert [(one.tokens, one.score) for one in run(found)[0]] == [((7,), 0.0), ((7,), -1e9), ((7,), -1e9)]


def test_the_end_token_is_no_bad_word():
    """As in transformers, which drops it from the list: a search that may not end would be of no use."""
    for num_beams in (1, 2):
        found, _ = search_with(table(3, END), num_beams=num_beams, bad_words_ids=[[END]])
        assert tokens_of(run(found))[0][0] == [3, END]


def test_closing_stops_the_search():
    found, step = search_with(table(5), num_beams=2)
    next(found)
    found.close()
    assert len(step.calls) == 1
    with pytest.raises(StopIteration):
        next(found)


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"do_sample": True, "num_return_sequences": 2}])
@pytest.mark.parametrize("how", ["closed", "dropped", "an error in the caller"])
def test_a_closed_search_leaves_nothing_running(options, how):
    """No thread, no further step, and the model's cache is let go of at once, without the garbage collector."""

    class Cache:
        def __init__(self, held):
            self.held = held

    fake, alive = FakeStep(table(5)), weakref.WeakSet()

    def step(ids, cache, **asked):
        scores, held = fake(ids, cache.held, **asked)
        alive.add(new := Cache(held))
        return scores, new

    def one_step_of(found):
        for _ in found:
            raise KeyboardInterrupt

    threads = threading.active_count()
    start = np.full((2, 1), START, np.int64)
    found = search(step, Cache(begin(2)), start, GenerationOptions(max_new_tokens=50, **options), vocab_size=VOCAB_SIZE)
    gc.disable()
    try:
        if how == "an error in the caller":
            with pytest.raises(KeyboardInterrupt):
                one_step_of(found)
        else:
            next(found)
        assert len(alive) == 1
        if how == "closed":
            found.close()
            assert found.gi_frame is None
        else:
            del found
        assert not alive
    finally:
        gc.enable()
    assert len(fake.calls) == 1
    assert threading.active_count() == threads


def test_states_are_values():
    """A state says the same however late it is asked."""
    for options in ({}, {"num_beams": 2}, {"do_sample": True}):
        found, _ = search_with(ending_after([3, 7, 2, 5]), inputs=4, **options)
        early, states = [], []
        for state in found:
            early.append((state.settled(), state.so_far()))
            states.append(state)
        assert [(state.settled(), state.so_far()) for state in states] == early


def test_no_inputs():
    for num_beams in (1, 2):
        assert run(search_with(table(5), inputs=0, num_beams=num_beams)[0]) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 1, "max_new_tokens": None}, "max_length is 1, but the decoder starts with 1 ids"),
        ({"bad_words_ids": [[1, 10]]}, r"bad_words_ids names \[10\], but the model's token ids go from 0 to 9"),
        ({"forced_bos_token_id": 10}, "forced_bos_token_id names"),
        ({"sequence_bias": [[[1, 10], 2.0]]}, r"sequence_bias names \[10\]"),
        ({"encoder_no_repeat_ngram_size": 2}, "encoder_no_repeat_ngram_size needs an input made of token ids"),
        ({"exponential_decay_length_penalty": [1, 1.2], "eos_token_id": None}, "needs an end token"),
        ({"forced_eos_token_id": [0, 11]}, "forced_eos_token_id names"),
        ({"forced_bos_token_id": 4, "suppress_tokens": [4]}, "forced_bos_token_id forces .* suppress_tokens bans"),
    ],
)
@pytest.mark.parametrize("num_beams", [1, 2])
def test_options_that_do_not_fit_the_model(num_beams, options, message):
    with pytest.raises(OptionError, match=message):
        run(search_with(table(5), num_beams=num_beams, **options)[0])
