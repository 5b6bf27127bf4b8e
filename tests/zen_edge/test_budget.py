"""Budgets: how they are written, the order of recipes, and what is taken of them."""

from itertools import pairwise
from math import inf

import pytest

from zen_edge.budget import Budget, Trial, confirmed, furthest, lines_to_be_sure, parts_to_try, path, within
from zen_edge.errors import OptionError
from zen_edge.recipe import Recipe

TRIALS = (
    Trial("embeddings", "int8", 0.001, 6.0),
    Trial("embeddings", "int4", 0.004, 7.0),
    Trial("encoder", "int8", 0.0009, 3.0),
    Trial("encoder", "int4", 0.09, 3.5),
    Trial("feed-forward", "int8", 0.02, -0.1),  # gains nothing
)


def test_a_budget_is_a_metric_and_a_number():
    assert (Budget.parse("chrf=0.3").most, Budget.parse("tokens=0.99").most) == (0.3, pytest.approx(0.01))
    assert Budget.parse("bleu=1").loss(before=40.0, after=39.5) == 0.5
    assert Budget.parse("wer=1").loss(before=10.0, after=10.5) == 0.5  # of which less is better


@pytest.mark.parametrize("text", ["", "chrf", "chrf=", "chrf=x", "chrf=-1", "chrf=nan", "tokens=1.5", "cosine=2", "meteor=1", "chrf=101"])
def test_what_is_no_budget(text):
    with pytest.raises(OptionError) as caught:
        Budget.parse(text)
    assert len(str(caught.value).splitlines()) == 1


def test_recipes_begin_with_what_costs_least_for_what_it_saves():
    found = path(TRIALS)
    changes = [set(after.parts.items()) - set(before.parts.items()) for before, after in pairwise(found)]
    assert found[0] == Recipe.uniform("fp32")
    assert changes == [{("embeddings", "int8")}, {("encoder", "int8")}, {("embeddings", "int4")}, {("encoder", "int4")}]
    assert found[-1].precision_of("feed-forward") == "fp32"


@pytest.mark.parametrize("most", range(7))
def test_the_last_recipe_within_the_budget_is_found_in_few_steps(most):
    recipes = path(TRIALS)
    losses = dict(zip(map(str, recipes), (0, 1, 2, 4, 6), strict=True))
    asked = []

    def loss(recipe: Recipe) -> float:
        asked.append(recipe)
        return losses[str(recipe)]

    place = furthest(recipes, loss, most)
    assert [*losses.values()][place] <= most
    assert place == len(recipes) - 1 or [*losses.values()][place + 1] > most
    assert len(asked) <= 3


def test_lines_held_out_take_recipes_back():
    recipes = path(TRIALS)
    assert confirmed(recipes, 4, lambda recipe: 0.0, 0.1) == 4
    assert confirmed(recipes, 4, lambda recipe: 1.0 if recipes.index(recipe) > 2 else 0.0, 0.1) == 2
    assert confirmed(recipes, 4, lambda recipe: 1.0, 0.1) == 0


@pytest.mark.parametrize("most", [0.5, 3.5, 17.5, 28.5])
def test_no_recipe_further_than_the_one_that_is_confirmed_would_do(most):
    many = [Recipe.uniform("fp32").changed(f"encoder.{i}", "int4") for i in range(30)]
    asked = []

    def loss(recipe: Recipe) -> float:
        asked.append(recipe)
        return many.index(recipe)

    assert confirmed(many, 29, loss, most) == int(most)
    assert len(asked) <= 10


MANY = [Recipe.uniform("fp32").changed(f"encoder.{i}", "int4") for i in range(12)]


def chosen(losses, doubts, most: float, whole=()) -> tuple[list[int], list[int]]:
    """The places of what is within the budget by its loss alone, and with its error too; losses, doubts: for each half, by the place of a recipe."""
    every = [*MANY, *whole]
    found = within(MANY, whole, lambda recipe, half: losses[half](every.index(recipe)), lambda recipe, half: doubts[half](every.index(recipe)), most)
    return [every.index(recipe) for recipe in found[0]], [every.index(recipe) for recipe in found[1]]


@pytest.mark.parametrize(
    ("doubts", "held", "sure"),
    [
        ((0.0, 0.0), [8], [8]),
        ((0.0, 2.0), [8], [6]),  # on the lines held out
        ((3.0, 0.0), [8], [5]),  # on those searched
        ((1.0, 2.0), [8], [6]),
        ((7.9, 0.0), [8], []),  # nothing is within it for sure, and what was before still is
        ((None, None), [8], [8]),  # where outputs are compared
    ],
    ids=str,
)
def test_a_loss_is_within_the_budget_with_its_error_on_both_halves(doubts, held, sure):
    assert chosen((float, float), [lambda place, doubt=doubt: doubt for doubt in doubts], 8.4) == (held, sure)


def test_whole_recipes_are_held_against_the_budget_with_their_errors():
    whole = [Recipe.uniform(precision) for precision in ("int8", "int8-blocks", "int4")]
    losses = dict(enumerate([*range(12), 0.1, 0.4, 2.0]))
    assert chosen((losses.get, losses.get), (lambda place: 0.0, lambda place: 0.3), 0.5, whole) == ([12, 13], [12])


def test_how_many_lines_would_tell():
    assert lines_to_be_sure(600, [(0.1, 0.2), (0.3, 0.2)], 0.5) is None
    assert lines_to_be_sure(600, [(0.5, 0.0), (-0.1, 0.2)], 0.5) is None
    assert lines_to_be_sure(600, [(0.1, 0.2), (0.3, 0.4)], 0.5) == pytest.approx(2400)  # half the error: four times as many
    assert lines_to_be_sure(600, [(-0.3, 1.2), (0.3, 0.1)], 0.5) == pytest.approx(600 * 2.25)
    assert lines_to_be_sure(600, [(0.1, 0.2), (0.5, 0.1)], 0.5) == inf
    assert lines_to_be_sure(600, [(0.1, None), (0.2, None)], 0.5) is None


def test_layers_stand_for_their_group_where_there_are_several():
    assert parts_to_try({"encoder": [0, 1], "embeddings": [], "feed-forward": [0]}) == ["embeddings", "encoder.0", "encoder.1", "feed-forward"]
