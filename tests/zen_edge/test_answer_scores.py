"""Exact match and F1 by hand."""

import pytest

from zen_edge.answer_scores import answer_scores, f1, normalized


def test_what_counts_for_nothing():
    assert normalized("  The   Eiffel-Tower, (an  old) tower. ") == "eiffeltower old tower"
    assert normalized("theatre another") == "theatre another"
    assert normalized("Ça coûte 12 €") == "ça coûte 12 €"


def test_f1():
    assert f1("the tower of Paris", "Tower in Paris") == pytest.approx(2 * 2 / 6)
    assert f1("tower tower", "tower") == pytest.approx(2 * 1 / 3)  # a word counts as often as both have it
    assert f1("", "a") == 1 and f1("", "tower") == 0 and f1("tower", "") == 0


def test_the_best_of_several_right_answers():
    found = answer_scores(["in 1916", "", "x"], [["1916", "In 1916."], [""], ["y", "z"]])
    assert found == pytest.approx({"EM": 200 / 3, "F1": 200 / 3})
    assert answer_scores(["the year 1916"], [["1916", "year 1907"]]) == pytest.approx({"EM": 0, "F1": 100 * 2 / 3})
