"""The smallest or fastest recipe whose loss stays within a budget: found from what each part costs and gains alone, and then tried on whole models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from zen_edge.errors import OptionError
from zen_edge.recipe import GROUPS, Recipe

SCORES = {"chrf": "chrF", "bleu": "BLEU", "rouge": "ROUGE-L", "wer": "WER", "f1": "F1", "exact-match": "EM"}
SHARES = ("tokens", "cosine")
MEASURED = {
    "translation": ("chrf", "bleu", *SHARES),
    "summarization": ("rouge", "chrf", "bleu", *SHARES),
    "sequence-to-sequence": ("chrf", "bleu", *SHARES),
    "speech-recognition": ("wer", "chrf", *SHARES),
    "question-answering": ("f1", "exact-match", *SHARES),
    "text-classification": SHARES,
    "token-classification": SHARES,
    "fill-mask": SHARES,
    "text-embedding": ("cosine",),
}
TRIED = ("fp16", "int8-blocks", "int8", "int4")
QUICK = TRIED[1:]  # half precision is not faster on a CPU
OF_LAYERS = {False: ("int8-blocks", "int4"), True: ("int8", "int4")}  # for the smallest, and for the fastest: the finer tells how the others do
STEPS_BACK = 6  # recipes that are tried on the held-out lines


OnHalf = Callable[[Recipe, int], float]
"""(recipe, half of the lines)"""


@dataclass(frozen=True)
class Budget:
    """metric: a score of texts or answers against their targets, whose loss against fp32 may be `limit` points; or "tokens", the share of words that are the best
    ones along what fp32 says, or "cosine", of the outputs, neither of which may be under `limit`."""

    metric: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Budget:
        """OptionError for what is not of the form METRIC=X."""
        metric, _, number = text.partition("=")
        known = (*SCORES, *SHARES)
        if metric not in known:
            raise OptionError(f"a budget is METRIC=X, such as chrf=0.3 or tokens=0.99, and not {text[:80]!a}; the metrics are {', '.join(known)}.")
        try:
            limit = float(number)
        except ValueError:
            limit = -1.0
        if not 0 <= limit <= (1 if metric in SHARES else 100):
            raise OptionError(f"{metric} takes a number from 0 to {1 if metric in SHARES else 100}, not {number[:80]!a}.")
        return cls(metric, limit)

    def require_measured(self, task: str) -> None:
        """OptionError for a bundle of which the metric says nothing."""
        known = MEASURED.get(task, ())
        if self.metric not in known:
            there = f"there are: {', '.join(known)}" if known else "budgets are for bundles that read lines of a file"
            raise OptionError(f"{self.metric} is not measured for {task}; {there}.")

    @property
    def most(self) -> float:
        """The largest loss that is within it."""
        return 1 - self.limit if self.metric in SHARES else self.limit

    def loss(self, before: float, after: float) -> float:
        """before, after: fp32's and the quantized bundle's."""
        return after - before if self.metric == "wer" else before - after


@dataclass(frozen=True)
class Trial:
    """What one part in another precision costs and gains, everything else in fp32. error: 1 - cosine of the outputs; saved: of bytes, or of seconds."""

    part: str
    precision: str
    error: float
    saved: float


def path(trials: Sequence[Trial]) -> list[Recipe]:
    """Recipes from fp32 on, each with one part coarser than the one before: always the change that errs least for what it saves. Errors of parts
    add up nearly, so that losses grow along it."""
    options: dict[str, list[Trial]] = {}
    for trial in trials:
        options.setdefault(trial.part, []).append(trial)
    at = {part: Trial(part, "fp32", 0.0, 0.0) for part in options}
    found = [Recipe.uniform("fp32")]
    while True:
        moves = [trial for part, tried in options.items() for trial in tried if trial.saved > at[part].saved]
        if not moves:
            return found
        best = min(
            moves,
            key=lambda trial: (max(0.0, trial.error - at[trial.part].error) / (trial.saved - at[trial.part].saved), trial.part, trial.precision),
        )
        at[best.part] = best
        found.append(found[-1].changed(best.part, best.precision))


def furthest(recipes: Sequence[Recipe], loss: Callable[[Recipe], float], most: float) -> int:
    """The place of the last recipe, by halving, whose loss is `most` or less; 0, which is fp32, if none is."""
    within, beyond = 0, len(recipes)
    while beyond - within > 1:
        middle = (within + beyond) // 2
        if loss(recipes[middle]) <= most:
            within = middle
        else:
            beyond = middle
    return within


def confirmed(recipes: Sequence[Recipe], place: int, loss: Callable[[Recipe], float], most: float) -> int:
    """The place of a recipe that is within the budget on the lines held out: `place`, or the last before it as far as a few tell; 0 if none of them is."""
    step, beyond = max(1, place // STEPS_BACK), place + 1
    while place > 0 and loss(recipes[place]) > most:
        beyond, place = place, max(1, place - step) if place > 1 else 0
    return place + furthest(recipes[place:beyond], loss, most)


def within(
    recipes: Sequence[Recipe], whole: Sequence[Recipe], loss: OnHalf, doubt: Callable[[Recipe, int], float | None], most: float
) -> tuple[list[Recipe], list[Recipe]]:
    """The last of `recipes` and all of `whole` that are within the budget on both halves of the lines: by their loss alone, and with its standard error.

    loss: on the lines to search on (0) or those held out (1), and doubt: its error there. With one each, on lines that chose among recipes as on those that did
    not: the smallest of many is the one that chance was kindest to, and seldom is it so on both by that much. fp32, which is the first, is not among them."""

    def with_doubt(recipe: Recipe) -> float:
        searched = loss(recipe, 0) + (doubt(recipe, 0) or 0.0)
        return searched if searched > most else max(searched, loss(recipe, 1) + (doubt(recipe, 1) or 0.0))

    def by_loss(recipe: Recipe) -> float:
        return max(loss(recipe, 0), loss(recipe, 1))

    place = confirmed(recipes, furthest(recipes, lambda recipe: loss(recipe, 0), most), by_loss, most)
    sure = confirmed(recipes, place, with_doubt, most)
    held = [recipe for recipe in whole if by_loss(recipe) <= most]
    certain = [recipe for recipe in held if with_doubt(recipe) <= most]
    return [*recipes[max(1, place) : place + 1], *held], [*recipes[max(1, sure) : sure + 1], *certain]


def lines_to_be_sure(lines: int, measured: Sequence[tuple[float, float | None]], most: float) -> float | None:
    """About how many lines would tell that a recipe is within the budget, by the loss and its standard error on each half of `lines`: an error falls with the
    square root of lines. None where these tell it, and without end where a loss is no less than `most`."""
    if all(loss + (error or 0.0) <= most for loss, error in measured):
        return None
    return lines * max(((error or 0.0) / (most - loss)) ** 2 if loss < most else inf for loss, error in measured)


def parts_to_try(layers: Mapping[str, Sequence[int]]) -> list[str]:
    """Each layer of groups that have several, and each other group that the model has."""
    return [
        part
        for group in GROUPS
        if group in layers
        for part in ([f"{group}.{layer}" for layer in layers[group]] if len(layers[group]) > 1 else [group])
    ]
