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

from zen_edge.budget import SCORES, Budget
from zen_edge.check_quantized import Probe, probe
from zen_edge.errors import InputError, ZenEdgeError
from zen_edge.files import write_whole
from zen_edge.inputs import Line
from zen_edge.parity import cosine
from zen_edge.recipe import Recipe
from zen_edge.text_scores import scores

Array = npt.NDArray[Any]
Write = Callable[[Path, Recipe], object]
PROBED = 32  # lines whose outputs are compared
TIMED = 6  # lines, one at a time
ROUNDS = 3


class Measure:
    """The fp32 bundle, and what recipes make of it. halves: the lines to search on, and those held out."""

    def __init__(
        self, bundle: Path, task: str, budget: Budget, halves: tuple[Sequence[Line], Sequence[Line]], write: Write, kept: Path, key: str
    ) -> None:
        """write: makes a bundle of a recipe in a folder. kept: where what was measured is kept; key: what it was measured on, other results are not taken."""
        self.bundle, self.task, self.budget, self.halves, self._write, self._kept, self._key = bundle, task, budget, halves, write, kept, key
        self._found: dict[str, dict[str, float]] = {}
        with suppress(OSError, ValueError, TypeError, AttributeError):  # none, or one that was cut off
            told = json.loads(kept.read_text("utf-8"))
            if told.get("key") == key:
                self._found = {name: {what: float(value) for what, value in row.items()} for name, row in told["found"].items()}
        self._probes: list[tuple[Probe, dict[str, Array]] | None] = [None, None]

    def alone(self, recipe: Recipe) -> dict[str, float]:
        """ "error": 1 - the lowest cosine of the outputs; "bytes": of the bundle; "seconds": of a few lines one at a time."""
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
        return {"error": 1 - cosine, "bytes": float(sum(file.stat().st_size for file in folder.iterdir())), "seconds": self._seconds(folder)}

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
        sources: list[Any] = [line.source for line in self.halves[half]][:PROBED]
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
        texts = _texts(folder, [line.source for line in lines])
        score = scores(self.task, texts, [str(line.target) for line in lines])[SCORES[self.budget.metric]]
        if folder == self.bundle:
            self._found[name] = {"score": score}
        return score

    def _seconds(self, folder: Path) -> float:
        """Of processor time, which other processes disturb least, the least of a few rounds; of the graphs where the bundle says no texts."""
        from zen_edge.runtimes import load

        with load(folder, device="cpu", threads=1) as opened:
            pipeline: Any = opened
            lines = [line.source for line in self.halves[0]][:TIMED]
            taken = []
            for _ in range(ROUNDS):
                start = time.process_time()
                for line in lines:
                    pipeline(line)
                taken.append(time.process_time() - start)
        return min(taken)


def _name(recipe: Recipe, what: str) -> str:
    return f"{what}: {json.dumps(dict(recipe.parts))}"


def _last(outputs: dict[str, Array]) -> dict[str, Array]:
    """What leaves the model: a decoder's scores, or what the only graph gives; whole numbers are left out."""
    named = {name: value for name, value in outputs.items() if not name.startswith("encoder.cross_") and value.dtype.kind == "f"}
    return {name: value.astype(np.float64) for name, value in named.items()}


def _texts(folder: Path, sources: Sequence[str]) -> list[str]:
    from zen_edge.runtimes import load

    with load(folder, device="cpu") as opened:
        pipeline: Any = opened
        found = pipeline.generate_each(list(sources), num_beams=1)
    for source, answers in zip(sources, found, strict=True):
        if isinstance(answers, ZenEdgeError):
            raise InputError(f"the line {source[:80]!a}: {answers}")
    return [answers[0].text for answers in found]
