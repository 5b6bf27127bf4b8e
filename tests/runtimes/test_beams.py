"""Rows that change places hold what a gather of everything would give them."""

import numpy as np
import pytest

from zen_edge.runtimes.beams import move, written


@pytest.mark.parametrize("seed", range(8))
def test_rows_are_as_if_all_of_them_were_gathered(seed):
    rng = np.random.default_rng(seed)
    inputs, beams = 3, 4
    R = inputs * beams
    here, expected, writers, in_place = np.zeros((R, 2, 0, 3)), np.zeros((R, 2, 0, 3)), None, 0
    for length in range(1, 40):
        new = rng.standard_normal((R, 2, 1, 3))
        here, expected = np.concatenate((here, new), axis=2), np.concatenate((expected, new), axis=2)
        if rng.random() < 0.3:
            continue  # nobody changes places
        rows = (np.arange(inputs)[:, None] * beams + rng.integers(0, beams, (inputs, beams))).reshape(-1)
        writers = written(writers, R, length)
        moved = move([here], rows, writers)
        here, expected = here if moved else here[rows], expected[rows]
        writers, in_place = writers[rows], in_place + moved
        np.testing.assert_array_equal(here, expected)
    assert in_place > 8


def test_where_most_is_different_nothing_is_changed():
    values, rows = np.arange(4.0).reshape(2, 1, 2, 1), np.array([1, 0])
    assert not move([values], rows, written(None, 2, 2))
    assert values.reshape(-1).tolist() == [0, 1, 2, 3]


def test_only_what_differs_is_written():
    before = np.array([[0, 0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 1], [2, 2, 2, 2, 2, 2, 2, 2, 2]], np.int32)
    values = np.arange(27.0).reshape(3, 1, 9, 1)
    assert move([values], np.array([0, 0, 2]), before)
    assert values[1].reshape(-1).tolist() == [9, 10, 11, 12, 13, 14, 15, 16, 8]  # the words that both rows have in common stay


def test_words_since_the_last_change_are_each_rows_own():
    known = np.array([[0, 0], [0, 1]], np.int32)
    assert written(known, 2, 4).tolist() == [[0, 0, 0, 0], [0, 1, 1, 1]]
