"""A mixture of precisions within a budget of answers, on lines that it was not chosen on."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import zen_edge
from zen_edge.budget import MEASURED, Budget
from zen_edge.budget_report import print_found
from zen_edge.errors import CheckFailedError, InputError, OptionError
from zen_edge.exporters.bundles import quantize_bundle
from zen_edge.inputs import read_questions
from zen_edge.manifest import read_manifest
from zen_edge.quantizing import within_budget
from zen_edge.recipe import Recipe
from zen_edge.sensitivity import Measure
from zen_edge.tasks import TASKS

CONTEXT = "library of tools for reading and writing text files, with support for many languages and a small game with cards for two players"
QUESTIONS = [
    f"{how} {what}" for how in ("which", "how many", "what is the", "who has") for what in ("library", "files", "languages", "game", "cards")
]


@pytest.fixture(scope="module")
def answering(bundle) -> Path:
    return bundle("bert", "question-answering")


@pytest.fixture(scope="module")
def asked(answering, tmp_path_factory) -> Path:
    """Questions whose right answers are those that fp32 gives."""
    path = tmp_path_factory.mktemp("asked") / "questions.jsonl"
    with zen_edge.load(answering, threads=1) as pipeline:
        answers = pipeline(question=QUESTIONS, context=CONTEXT)
    rows = ({"question": question, "context": CONTEXT, "answers": [answer.text]} for question, answer in zip(QUESTIONS, answers, strict=True))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def search(answering: Path, asked: Path, out: Path, budget: str, fastest: bool = False):
    return within_budget(answering, out, budget=budget, inputs=asked, fastest=fastest, force=False, advance=lambda *step: None)


@pytest.mark.parametrize(("budget", "fastest"), [("f1=0", False), ("exact-match=20", True)])
def test_answers_within_a_budget(answering, asked, tmp_path, monkeypatch, budget, fastest):
    if fastest:  # the clock is too coarse for a model as small as this: say that reading its bytes is all that takes time
        monkeypatch.setattr(Measure, "_seconds", lambda self, folder: {"seconds": (folder / "weights.bin").stat().st_size / 1e6, "spread": 0.0})
    found = search(answering, asked, tmp_path / "out", budget, fastest)
    assert found.fp32.error < 1e-12
    assert found.held_out <= found.budget.most
    assert found.doubt is not None
    assert found.to_be_sure is None
    assert found.chosen.held_out == found.held_out
    assert max(point.error for point in found.alone) > 1e-6
    assert found.chosen.megabytes < found.fp32.megabytes
    assert dict(read_manifest(tmp_path / "out", hashes=True).recipe) == dict(found.chosen.recipe.parts)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    told = io.StringIO()
    print_found(found, Console(file=told))
    assert {part.split(".")[0] for part in re.findall(r"^    (\S+): \w", told.getvalue(), re.MULTILINE)} == {"embeddings", "encoder"}


def test_nothing_is_faster_for_certain(answering, asked, tmp_path, monkeypatch):
    monkeypatch.setattr(Measure, "_seconds", lambda self, folder: {"seconds": 1 + (folder != self.bundle), "spread": 0.1})
    with pytest.raises(CheckFailedError, match=r"^nothing within the budget is faster, by more than its times vary"):
        search(answering, asked, tmp_path / "out", "f1=100", fastest=True)
    assert not (tmp_path / "out").exists()


def test_the_fastest_is_one_of_whole_recipes(answering, asked, tmp_path, monkeypatch):
    """Where parts save nothing for certain and the whole does: times of parts do not add up."""

    def seconds(self, folder):
        recipe = dict(read_manifest(folder, hashes=True).recipe)
        return {"seconds": {("int8",): 0.5, ("int4",): 0.6}.get(tuple({*recipe.values()}), 1.0), "spread": 0.1}

    monkeypatch.setattr(Measure, "_seconds", seconds)
    found = search(answering, asked, tmp_path / "out", "f1=100", fastest=True)
    assert {*found.chosen.recipe.parts.values()} == {"int8"} and found.chosen.name == "all int8"
    assert [point.name for point in found.tried] == ["all int8-blocks", "all int8", "all int4"]


def test_times_are_taken_in_turns_with_fp32(answering, asked, tmp_path):
    questions = read_questions(asked)
    write = lambda folder, recipe: quantize_bundle(answering, folder, recipe, lambda step: None)  # noqa: E731
    given = (
        answering,
        "question-answering",
        Budget.parse("f1=1"),
        (questions, questions),
        write,
        tmp_path / "kept.json",
        tmp_path / "work",
        "key",
        {},
    )
    with Measure(*given) as measure:
        fp32, int4 = measure.alone(Recipe.uniform("fp32")), measure.alone(Recipe.uniform("int4"))
    assert fp32["seconds"] > 0
    assert int4["seconds"] > 0
    assert int4["spread"] >= 0
    assert int4["error"] > fp32["error"]


def test_how_much_other_lines_would_say(answering, asked, tmp_path):
    """By leaving each of ten groups of lines out; nothing where every line loses the same, and for outputs none is told."""
    questions = read_questions(asked)
    wrong = tuple(replace(question, answers=("none of it",)) if i < 5 else question for i, question in enumerate(questions))
    write = lambda folder, recipe: quantize_bundle(answering, folder, recipe, lambda step: None)  # noqa: E731
    recipe = Recipe.uniform("int4")

    def measured(budget: str, lines) -> float | None:
        given = (answering, "question-answering", Budget.parse(budget), (lines, lines), write, tmp_path / "kept.json", tmp_path / "work", budget, {})
        with Measure(*given) as measure:
            return measure.doubt(recipe, 1)

    (made := tmp_path / "made").mkdir()
    write(made, recipe)
    with zen_edge.load(answering) as before, zen_edge.load(made) as after:
        right = [[pipeline(question=q.question, context=q.context).text in q.answers for q in wrong] for pipeline in (before, after)]
    lost = 100 * (np.array(right[0], float) - right[1])  # of exact matches
    means = [np.delete(lost, range(group, len(lost), 10)).mean() for group in range(10)]
    assert measured("exact-match=50", wrong) == pytest.approx((0.9 * np.square(means - np.mean(means)).sum()) ** 0.5)
    assert np.ptp(lost) > 0, "some answers are others in int4"
    assert measured("tokens=0.5", wrong) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is damaged: remove it"),
        ('{"key": "', "is damaged: remove it"),
        ("[]", "is damaged: remove it"),
        ('{"key": "KEY"}', "is damaged: remove it"),
        ('{"key": "KEY", "found": {"alone: {}": {"error": 1}}}', "is damaged: remove it"),
        ('{"key": "KEY", "found": {"loss 0: {}": {"loss": NaN}}}', "is damaged: remove it"),
        ('{"key": "KEY", "found": {"other": {"loss": 1}}}', "is damaged: remove it"),
    ],
)
def test_a_damaged_file_of_an_interrupted_search(answering, asked, tmp_path, monkeypatch, content, words):
    kept = tmp_path / ".out.search.json"
    kept.write_text(content.replace("KEY", key_of(answering, asked, tmp_path, monkeypatch)), "utf-8")
    with pytest.raises(InputError) as caught:
        search(answering, asked, tmp_path / "out", "f1=1")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [kept.name]


def key_of(answering: Path, asked: Path, folder: Path, monkeypatch) -> str:
    """What an interrupted search keeps its file under."""

    def interrupted(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("zen_edge.quantizing._sensitivities", lambda measure, *given: measure.alone(Recipe.uniform("fp32")) and interrupted())
        search(answering, asked, folder / "out", "f1=1")
    return json.loads((folder / ".out.search.json").read_text())["key"]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_takes_the_metrics_that_say_something_of_it(task):
    for metric in ("chrf", "bleu", "rouge", "wer", "f1", "exact-match", "tokens", "cosine"):
        budget = Budget.parse(f"{metric}=0.5")
        if metric in MEASURED.get(task, ()):
            budget.require_measured(task)
        else:
            with pytest.raises(OptionError, match=f"^{metric} is not measured for {task}; "):
                budget.require_measured(task)
    assert ("cosine" in MEASURED.get(task, ())) == (task != "module")
