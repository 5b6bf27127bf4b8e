"""Results do not depend on batch mates, order or amount, in int8 neither."""

from __future__ import annotations

import threading
import time
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest

import zen_edge
from zen_edge.runtimes.batching import BATCH_ROWS, BATCH_TOKENS, CALL_TOKENS, LEAST_GAIN, PART_TOKENS, batches, close_lengths, pad

psutil = pytest.importorskip("psutil")


@pytest.mark.parametrize("num_beams", [1, 4])
def test_mixed_lengths_answer_as_each_line_alone(num_beams, pipeline, lines):
    some = [*lines[:160], "", "tool", " ".join(lines[:9]), "."]
    together = pipeline.generate(some, num_beams=num_beams)
    alone = [pipeline.generate(line, num_beams=num_beams)[0] for line in some]
    assert [one.tokens for (one,) in together] == [one.tokens for (one,) in alone]
    assert [one.score for (one,) in together] == pytest.approx([one.score for (one,) in alone], abs=1e-5)


# Over all 655 lines no token changes, and no score by more than 1.4e-4: each row of activations has a scale of its own.
@pytest.mark.parametrize("num_beams", [1, 4])
def test_int8_does_not_depend_on_batch_mates(num_beams, int8, lines):
    some = lines[:100]
    together = [one for (one,) in int8.generate(some, num_beams=num_beams)]
    alone = [int8.generate(line, num_beams=num_beams)[0][0] for line in some]
    assert [one.tokens for one in together] == [one.tokens for one in alone]
    assert [one.score for one in together] == pytest.approx([one.score for one in alone], abs=1e-3)


def test_order_and_duplicates(pipeline, lines):
    some = [*lines[:12], *lines[:3], ""]
    found = pipeline(some)
    assert pipeline(some[::-1]) == found[::-1]
    assert found[:3] == found[12:15]
    assert found[15] == ""


def test_batches_hold_every_position_once_and_stay_within_the_budget():
    lengths = [(i * 37) % 200 + 1 for i in range(700)]
    for num_beams in (1, 4, 200):
        cut = list(batches(lengths, num_beams))
        assert sorted(position for batch in cut for position in batch) == list(range(700))
        for batch in cut:
            rows = len(batch) * num_beams
            assert len(batch) == 1 or (rows <= BATCH_ROWS and len(batch) * max(lengths[i] for i in batch) <= BATCH_TOKENS)


@pytest.mark.parametrize("seed", range(12))
def test_close_lengths_cost_least_of_all_ways_to_cut(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 400, rng.integers(2, 9)).tolist()
    inner = range(1, len(lengths))
    ways = [[0, *at, len(lengths)] for number in range(len(lengths)) for at in combinations(inner, number)]
    ranked = sorted(lengths)
    costs = [sum((end - start) * ranked[end - 1] + CALL_TOKENS for start, end in pairwise(way)) for way in ways]
    parts = close_lengths(lengths, threads=2)
    found = sum(len(part) * max(lengths[i] for i in part) + CALL_TOKENS for part in parts)
    assert sorted(i for part in parts for i in part) == list(range(len(lengths)))
    assert [lengths[i] for part in parts for i in part] == ranked
    assert found == (min(costs) if min(costs) <= (1 - LEAST_GAIN) * costs[0] else costs[0])  # costs[0]: in one part


def test_close_lengths_cut_nothing_without_gain():
    assert close_lengths([], 2) == [] and close_lengths([5], 2) == [[0]]
    assert close_lengths([100] * 8, 2) == [list(range(8))] and close_lengths([4, 3, 2, 1], 2) == [[3, 2, 1, 0]]


def test_one_thread_takes_so_many_tokens_at_a_time():
    lengths = [40] * 30 + [PART_TOKENS + 1, 7, 900]
    parts = close_lengths(lengths, threads=1)
    assert sorted(i for part in parts for i in part) == list(range(len(lengths)))
    assert all(len(part) == 1 or len(part) * max(lengths[i] for i in part) <= PART_TOKENS for part in parts)
    assert len(close_lengths([40] * 30, threads=2)) == 1 < len(close_lengths([40] * 30, threads=1))
    assert close_lengths([PART_TOKENS] * 2, threads=1) == [[0, 1]]  # little more gains nothing


@pytest.mark.parametrize("precision", ["pipeline", "int8"])
def test_an_encoder_in_parts_gives_the_same_keys_and_values(precision, request, lines):
    pipeline = request.getfixturevalue(precision)
    model = pipeline._open_model()
    rows = [pipeline._tokenizer.encode(line) for line in (lines[0], " ".join(lines[:4]), lines[1], " ".join(lines[4:12]), "tool")]
    ids, mask = pad(rows, pipeline._tokenizer.pad_token_id)
    assert len(close_lengths(mask.sum(axis=1), 2)) > 2
    whole, parts = model._encode(ids, mask), model.encode(ids, mask).cross
    for name, values in parts.items():
        for row, length in enumerate(mask.sum(axis=1)):
            assert np.array_equal(values[row, :, :length], whole[name].numpy()[row, :, :length]), name
        assert np.isfinite(values).all()


def test_ten_thousand_lines_in_flat_memory(demo_int8: Path, lines):
    many = [f"{' '.join(line.split()[:4])} {number}" for number, line in enumerate((lines * 16)[:10_000])]
    with zen_edge.load(demo_int8) as pipeline:
        pipeline(many[:2000], num_beams=1, max_new_tokens=4)
        before = psutil.Process().memory_info().rss
        start = time.perf_counter()
        found = pipeline(many, num_beams=1, max_new_tokens=4)
        assert time.perf_counter() - start < 120
        grown = psutil.Process().memory_info().rss - before
    assert len(found) == 10_000
    assert sum(bool(text) for text in found) > 9_900
    assert grown < 60e6


def test_eight_threads_share_one_pipeline(pipeline, lines):
    parts = [lines[at : at + 6] for at in range(0, 48, 6)]
    found: dict[int, list[str]] = {}
    ready = threading.Barrier(8)

    def work(number: int) -> None:
        ready.wait()
        found[number] = [pipeline(line, num_beams=1 + number % 3) for line in parts[number]]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(8)] == [pipeline(part, num_beams=1 + number % 3) for number, part in enumerate(parts)]
