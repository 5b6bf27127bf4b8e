"""What quantized bundles lose and gain, measured: made, run and thrown away one after another. What was measured is kept in a file, so that an interrupted search goes on."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zen_edge.answer_scores import answer_scores
from zen_edge.budget import SCORES, Budget
from zen_edge.check_quantized import Probe, probe
from zen_edge.check_steps import StepProbe
from zen_edge.errors import InputError, ZenEdgeError
from zen_edge.files import reason, write_whole
from zen_edge.inputs import Line, Question
from zen_edge.manifest import read_manifest
from zen_edge.parity import cosine
from zen_edge.recipe import Recipe
from zen_edge.text_scores import scores

Array = npt.NDArray[Any]
Write = Callable[[Path, Recipe], object]
Lines = Line | Question
PROBED = 32  # lines whose outputs are compared
TIMED = 6  # lines, one at a time
ROUNDS = 5
KEPT = {
    "alone": {"error", "bytes", "seconds", "spread"},
    "loss": {"loss"},
    "score": {"score"},
}  # what is told of a recipe, by the first word of its name


class Measure:
    """The fp32 bundle, and what recipes make of it. halves: the lines to search on, and those held out."""

    def __init__(
        self, bundle: Path, task: str, budget: Budget, halves: tuple[Sequence[Lines], Sequence[Lines]], write: Write, kept: Path, key: str
    ) -> None:
        """write: makes a bundle of a recipe in a folder. kept: where what was measured is kept; key: what it was measured on, other results are not taken."""
        self.bundle, self.task, self.budget, self.halves, self._write, self._kept, self._key = bundle, task, budget, halves, write, kept, key
        self._found: dict[str, dict[str, float]] = {}
        with suppress(FileNotFoundError):
            self._found = _read_kept(kept, key)
        self._probes: list[tuple[Probe | StepProbe, dict[str, Array]] | None] = [None, None]

    def alone(self, recipe: Recipe) -> dict[str, float]:
        """ "error": 1 - the lowest cosine of the outputs; "bytes": of the bundle; "seconds": of a few lines one at a time, and their "spread"."""
        return self._measured(recipe, "alone", self._cost)

    def loss(self, recipe: Recipe, half: int) -> float:
        """By the budget's metric, on the lines to search on (0) or those held out (1)."""
        return self._measured(recipe, f"loss {half}", lambda folder: {"loss": self._loss(folder, half)})["loss"]

    def has_loss(self, recipe: Recipe) -> bool:
        """Whether it was measured on the lines to search on."""
        return _name(recipe, "loss 0") in self._found

    def forget(self) -> None:
        self._kept.unlink(missing_ok=True)

    def _measured(self, recipe: Recipe, what: str, measure: Callable[[Path], dict[str, float]]) -> dict[str, float]:
        name = _name(recipe, what)
        if name not in self._found:
            if recipe == Recipe.uniform("fp32"):
                self._found[name] = measure(self.bundle)
            else:
                with tempfile.TemporaryDirectory() as folder:
                    self._write(Path(folder), recipe)
                    self._found[name] = measure(Path(folder))
            with suppress(OSError):  # where nothing can be kept, the search is not resumed
                write_whole(self._kept, json.dumps({"key": self._key, "found": self._found}))
        return self._found[name]

    def _cost(self, folder: Path) -> dict[str, float]:
        cosine, _ = self._outputs(folder, 0)
        return {"error": 1 - cosine, "bytes": float(sum(file.stat().st_size for file in folder.iterdir())), **self._seconds(folder)}

    def _loss(self, folder: Path, half: int) -> float:
        if self.budget.metric not in SCORES:
            cosine, tokens = self._outputs(folder, half)
            return 1 - (cosine if self.budget.metric == "cosine" else tokens)
        return self.budget.loss(self._score(self.bundle, half), self._score(folder, half))

    def _outputs(self, folder: Path, half: int) -> tuple[float, float]:
        """The lowest cosine of the outputs that leave the model with fp32's, and the share of rows with the same best entry."""
        given = self._probes[half]
        if given is None:
            tried = probe(self.bundle, self._sources(half))
            given = self._probes[half] = tried, _last(tried.outputs(self.bundle))
        tried, expected = given
        found = _last(tried.outputs(folder))
        cosines = [cosine(expected[name].ravel(), found[name].ravel()) for name in expected]
        same = [float((expected[name].argmax(axis=-1) == found[name].argmax(axis=-1)).mean()) for name in expected]
        return min(cosines), min(same)

    def _sources(self, half: int) -> list[Any] | None:
        sources: list[Any] = [_pair(line) for line in self.halves[half]][:PROBED]
        if self.task != "speech-recognition":
            return sources
        from zen_edge.runtimes.audio import load_extractor, read_audio
        from zen_edge.runtimes.pipelines.recognizer import read_config

        rate = load_extractor(read_config(self.bundle)).sampling_rate
        return [read_audio(source, None, rate) for source in sources]

    def _score(self, folder: Path, half: int) -> float:
        name = f"score {half}"
        if folder == self.bundle and name in self._found:
            return self._found[name]["score"]
        lines = self.halves[half]
        told = _answered(folder, lines) if self.task == "question-answering" else _said(self.task, folder, lines)
        score = told[SCORES[self.budget.metric]]
        if folder == self.bundle:
            self._found[name] = {"score": score}
        return score

    def _seconds(self, folder: Path) -> dict[str, float]:
        """Of processor time, which other processes disturb least; in turns with fp32, whose times change with the machine's as these do."""
        from zen_edge.runtimes import load

        sources = [_pair(line) for line in self.halves[0]][:TIMED]
        if folder == self.bundle:
            with load(folder, device="cpu", threads=1) as opened:
                taken = [_taken(opened, sources) for _ in range(ROUNDS)]
            return {"seconds": min(taken), "spread": float(np.median(taken)) - min(taken)}
        fp32 = self.alone(Recipe.uniform("fp32"))["seconds"]
        with load(self.bundle, device="cpu", threads=1) as before, load(folder, device="cpu", threads=1) as after:
            pairs = [(_taken(before, sources), _taken(after, sources)) for _ in range(ROUNDS)]
        ratios = sorted(after / before for before, after in pairs)
        return {"seconds": fp32 * float(np.median(ratios)), "spread": fp32 * (ratios[-2] - ratios[1]) / 2}  # without the two that are furthest out


def _name(recipe: Recipe, what: str) -> str:
    return f"{what}: {json.dumps(dict(recipe.parts))}"


def _last(outputs: dict[str, Array]) -> dict[str, Array]:
    """What leaves the model: a decoder's scores, or what the only graph gives; whole numbers are left out."""
    named = {name: value for name, value in outputs.items() if not name.startswith("encoder.cross_") and value.dtype.kind == "f"}
    return {name: value.astype(np.float64) for name, value in named.items()}


def _read_kept(path: Path, key: str) -> dict[str, dict[str, float]]:
    """What an interrupted search measured; nothing of one on other lines or another bundle. InputError for a file that no search wrote whole."""
    try:
        told = json.loads(path.read_text("utf-8"))
        found = {str(name): {str(what): float(value) for what, value in row.items()} for name, row in told["found"].items()}
        other = told["key"] != key
        whole = all(KEPT[name.split()[0].rstrip(":")] == set(row) and all(map(np.isfinite, row.values())) for name, row in found.items())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{str(path)!r}, where an interrupted search kept what it measured, cannot be read: {reason(error)}.") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        found, other, whole = {}, False, False
    if not other and not whole:
        raise InputError(f"{str(path)!r}, where an interrupted search kept what it measured, is damaged: remove it, and the search begins anew.")
    return {} if other else found


def _pair(line: Lines) -> Any:
    """A text, or a question and its context."""
    return (line.question, line.context) if isinstance(line, Question) else line.source


def _taken(pipeline: Any, sources: Sequence[Any]) -> float:
    start = time.process_time()
    for source in sources:
        if isinstance(source, tuple):
            pipeline(question=source[0], context=source[1])
        else:
            pipeline(source)
    return time.process_time() - start


def _said(task: str, folder: Path, lines: Sequence[Any]) -> dict[str, float]:
    """The scores of the texts that are made of each line."""
    from zen_edge.runtimes import load

    with load(folder, device="cpu") as opened:
        pipeline: Any = opened
        options = {} if any(graph.name == "ctc" for graph in read_manifest(folder).graphs) else {"num_beams": 1}
        found = pipeline.generate_each([line.source for line in lines], **options)
    return scores(task, [_first(line.source, answers).text for line, answers in zip(lines, found, strict=True)], [str(line.target) for line in lines])


def _answered(folder: Path, questions: Sequence[Any]) -> dict[str, float]:
    """The scores of the answers to each question."""
    from zen_edge.runtimes import load

    none_at_times = any("" in one.answers for one in questions)
    with load(folder, device="cpu") as opened:
        pipeline: Any = opened
        asked = [{"question": one.question, "context": one.context} for one in questions]
        found = pipeline.generate_each(asked, handle_impossible_answer=none_at_times)
    texts = [_first(one.question, answers).text for one, answers in zip(questions, found, strict=True)]
    return answer_scores(texts, [one.answers for one in questions])


def _first(source: str, answers: Any) -> Any:
    if isinstance(answers, ZenEdgeError):
        raise InputError(f"the line {source[:80]!a}: {answers}")
    return answers[0]
