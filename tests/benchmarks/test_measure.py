"""Taking turns: who is asked when, and who fails."""

from collections import Counter
from collections.abc import Callable
from itertools import islice

from zen_edge.benchmarks.bench import busy
from zen_edge.benchmarks.contestants import Contestant
from zen_edge.benchmarks.inputs import batches
from zen_edge.benchmarks.measure import LEAST_ROUNDS, Setting, measure, turns

Fake = Callable[[str], Contestant]
LINES = ["one", "two words", "three more words", "four", "five"]


def quiet(step: str) -> None:
    pass


def test_every_round_asks_each_once_in_an_order_of_its_own() -> None:
    rounds = list(islice(turns(["a", "b", "c"], seed=0), 60))
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert len(Counter(map(tuple, rounds))) == 6
    assert max(Counter(order[0] for order in rounds).values()) < 35  # nobody is always first


def test_the_same_seed_gives_the_same_orders() -> None:
    first, again, other = (list(islice(turns(list("abcd"), seed), 10)) for seed in (1, 1, 2))
    assert first == again != other


def test_every_line_is_seen_and_every_round_counted(fake: Fake) -> None:
    case, failures = measure([fake("good"), fake("noisy")], batches(LINES, 2), 1, Setting(1, 8, rounds=4), quiet)
    assert failures == []
    assert [measured.contestant.name for measured in case] == ["fake good", "fake noisy"]
    for measured in case:
        assert len(measured.seconds) == len(measured.cpu_seconds) == len(measured.tokens) == 4
        assert measured.tokens == [3, 4, 2, 3]  # words of each batch; the third is filled up with the first line
        assert measured.texts == {i: f"{line} (1)" for i, line in enumerate(LINES)}
        assert measured.load_s >= 0 and measured.first_call_s > 0 and measured.peak_memory_mb > 5


def test_forced_lengths_are_not_counted_but_known(fake: Fake) -> None:
    """And where weights lie, and whether runs are recorded, is told to engines that have a choice."""
    case, _ = measure([fake("good")], batches(LINES, 2), 1, Setting(1, 8, exactly=True, memory="mapped", cuda_graphs=True, rounds=2), quiet)
    assert case[0].tokens == [16, 16]
    assert case[0].texts[0] == "one (1mapped recorded)"


def test_who_dies_leaves_and_the_others_go_on(fake: Fake) -> None:
    contestants = [fake(name) for name in ("dies", "good", "broken", "raises", "slow")]
    case, failures = measure(contestants, batches(LINES, 1), 4, Setting(1, 8, rounds=6, call_limit_s=2), quiet)
    assert [measured.contestant.precision for measured in case] == ["good"]
    assert len(case[0].seconds) == 6
    assert {failure.precision: failure.error for failure in failures} == {
        "broken": "OSError: no such file",
        "raises": "ValueError: no such word",
        "slow": "no answer within 2 seconds; it was ended.",
        "dies": "its process ended with exit status 7: the last words",
    }
    assert {(failure.batch_size, failure.num_beams) for failure in failures} == {(1, 4)}


def test_time_bounds_a_case(fake: Fake) -> None:
    case, _ = measure([fake("half")], batches(LINES, 1), 1, Setting(1, 8, rounds=500, seconds=0.0), quiet)
    assert len(case[0].seconds) == LEAST_ROUNDS


def test_rounds_without_a_number_see_every_line() -> None:
    assert [Setting(1, 8).rounds_for(number) for number in (3, 20, 300)] == [20, 20, 300]
    assert Setting(1, 8, rounds=2).rounds_for(300) == 2


def test_a_busy_machine_is_told() -> None:
    assert busy({"load_average_at_start": 0.4, "cores_usable": 2}) == busy({"load_average_at_start": None, "cores_usable": 2}) == []
    assert "load average 3.9 on 2 cores" in busy({"load_average_at_start": 3.9, "cores_usable": 2})[0]


def test_an_engine_that_is_measured_on_the_cpu_alone_says_so(fake: Fake) -> None:
    case, failures = measure([fake("good")], batches(LINES, 2), 1, Setting(1, 8, device="cuda", rounds=2), quiet)
    assert case == []
    assert [failure.error for failure in failures] == ["ValueError: measured on cpu only, not on cuda"]
