"""What quantized bundles lose and gain, measured: made, run and thrown away one after another. What was measured is kept in a file, so that an interrupted search goes on."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from zen_edge.answer_scores import answer_scores
from zen_edge.budget import SCORES, Budget
from zen_edge.errors import InputError, ZenEdgeError
from zen_edge.files import reason, write_whole
from zen_edge.held import hold, let_go
from zen_edge.inputs import Line, Question
from zen_edge.manifest import read_manifest
from zen_edge.probed import Layers, Probed
from zen_edge.recipe import Recipe
from zen_edge.text_scores import scores

Write = Callable[[Path, Recipe], object]
Lines = Line | Question
TIMED = 6  # lines, one at a time
ROUND_S = 0.1  # fewer lines, one at least, where fp32 takes longer for them
ROUNDS = 5
GROUPS_LEFT_OUT = 10  # of lines, one at a time
KEPT = {
    "alone": {"error", "bytes", "seconds", "spread"},
    "loss": {"loss"},
    "score": {"score"},
    "doubt": {"doubt"},
}  # what is told of a recipe, by the first word of its name


class Measure:
    """The fp32 bundle, and what recipes make of it. halves: the lines to search on, and those held out. To be left by `with`."""

    def __init__(
        self,
        bundle: Path,
        task: str,
        budget: Budget,
        halves: tuple[Sequence[Lines], Sequence[Lines]],
        write: Write,
        kept: Path,
        work: Path,
        key: str,
        layers: Layers,
    ) -> None:
        """write: makes a bundle of a recipe in a folder. kept: where what was measured is kept; work: a folder that is made for the bundle that is measured;
        key: what it was measured on, other results are not taken."""
        self.bundle, self.task, self.budget, self.halves, self._write, self._kept, self._key = bundle, task, budget, halves, write, kept, key
        self._found: dict[str, dict[str, float]] = {}
        with suppress(FileNotFoundError):
            self._found = _read_kept(kept, key)
        self._work = work
        self._held: int | None = None
        self._made, self._of = work / "bundle", Recipe.uniform("fp32")  # the bundle that was made last, and its recipe
        self._probed = Probed(bundle, task == "speech-recognition", layers, self._sources)
        self._timed: tuple[Any, list[Any]] | None = None
        self._said: dict[str, list[Any]] = {}
        self._left_out: dict[int, list[float]] = {}  # fp32's scores, of each half

    def __enter__(self) -> Measure:
        """ZenEdgeError where another search for the same bundle is at work."""
        try:
            self._work.mkdir(exist_ok=True)
            self._held = hold(self._work)
        except BlockingIOError:
            raise ZenEdgeError(f"another search works in {str(self._work)!a}: wait for its end, or choose another OUT.") from None
        except OSError as error:
            raise ZenEdgeError(f"cannot write beside OUT, in {str(self._work)!a}: {reason(error)}; choose another OUT.") from None
        shutil.rmtree(self._made, ignore_errors=True)  # of a search that was killed, where nothing told so
        return self

    def __exit__(self, *error: object) -> None:
        if self._timed is not None:
            self._timed[0].close()
        shutil.rmtree(self._work, ignore_errors=True)
        let_go(self._held)

    def begin(self) -> None:
        """InputError for lines that fp32 cannot answer, all of them, before anything else is measured."""
        if self.budget.metric not in SCORES:
            self._require_short()
            return
        answers = {half: self._answers(Recipe.uniform("fp32"), half) for half in (0, 1) if f"score {half}" not in self._found}
        self._require_none(
            [
                (line, told)
                for half, given in answers.items()
                for line, told in zip(self.halves[half], given, strict=True)
                if isinstance(told, ZenEdgeError)
            ]
        )
        for half, given in answers.items():
            self._keep(f"score {half}", {"score": self._score(self.halves[half], given)})

    def _require_short(self) -> None:
        """Texts must be as short as the model reads them; of questions and recordings the beginning is measured."""
        read = [(line, source) for half, lines in enumerate(self.halves) for line, source in zip(lines, self._sources(half), strict=True)]
        manifest = read_manifest(self.bundle)
        longest = manifest.limits.get("max_source_length")
        if longest is None or not all(isinstance(source, str) for _, source in read):
            return
        from zen_edge.runtimes.tokenization import load_tokenizer

        tokenizer = load_tokenizer(self.bundle, manifest.tokenizer)
        sizes = [(line, len(tokenizer.encode(source))) for line, source in read]
        self._require_none([(line, f"the text has {size} tokens, and the model takes {longest}.") for line, size in sizes if size > longest])

    def _require_none(self, wrong: Sequence[tuple[Lines, object]]) -> None:
        if wrong:
            line, told = wrong[0]
            raise InputError(f"{len(wrong)} of {sum(map(len, self.halves))} lines cannot be measured, leave them out: {_text(line)[:80]!a}: {told}")

    def alone(self, recipe: Recipe) -> dict[str, float]:
        """ "error": 1 - the lowest cosine of the outputs; "bytes": of the bundle; "seconds": of a few lines one at a time, and their "spread"."""
        return self._measured(recipe, "alone", lambda folder: self._cost(folder, recipe))

    def loss(self, recipe: Recipe, half: int) -> float:
        """By the budget's metric, on the lines to search on (0) or those held out (1)."""
        return self._measured(recipe, f"loss {half}", lambda folder: {"loss": self._loss(folder, recipe, half)})["loss"]

    def doubt(self, recipe: Recipe, half: int) -> float | None:
        """The standard error of the loss on a half: as many other lines would give another by about so much. None where outputs are compared.

        By a jackknife that leaves a tenth of the lines out at a time (Efron and Stein 1981, "The Jackknife Estimate of Variance")."""
        if self.budget.metric not in SCORES:
            return None
        return self._measured(recipe, f"doubt {half}", lambda folder: {"doubt": self._jackknife(recipe, half)})["doubt"]

    def _jackknife(self, recipe: Recipe, half: int) -> float:
        if half not in self._left_out:
            self._left_out[half] = self._scores_left_out(Recipe.uniform("fp32"), half)
        losses = [self.budget.loss(before, after) for before, after in zip(self._left_out[half], self._scores_left_out(recipe, half), strict=True)]
        return float(np.std(losses) * np.sqrt(len(losses) - 1))

    def _scores_left_out(self, recipe: Recipe, half: int) -> list[float]:
        """Without each of the groups of lines."""
        lines, answers = self.halves[half], self._answers(recipe, half)
        groups = min(GROUPS_LEFT_OUT, len(lines))
        left = [[i for i in range(len(lines)) if i % groups != group] for group in range(groups)]
        return [self._score([lines[i] for i in places], [answers[i] for i in places]) for places in left]

    def known_loss(self, recipe: Recipe, half: int) -> float | None:
        """None where it was not measured."""
        return self._found.get(_name(recipe, f"loss {half}"), {}).get("loss")

    def forget(self) -> None:
        self._kept.unlink(missing_ok=True)

    def _measured(self, recipe: Recipe, what: str, measure: Callable[[Path], dict[str, float]]) -> dict[str, float]:
        name = _name(recipe, what)
        if name not in self._found:
            self._keep(name, measure(self._folder(recipe)))
        return self._found[name]

    def _keep(self, name: str, told: dict[str, float]) -> None:
        self._found[name] = told
        with suppress(OSError):  # where nothing can be kept, the search is not resumed
            write_whole(self._kept, json.dumps({"key": self._key, "found": self._found}), within=self._work)

    def _folder(self, recipe: Recipe) -> Path:
        """A bundle of `recipe`, which is there until another is asked for."""
        if recipe == Recipe.uniform("fp32"):
            return self.bundle
        if recipe != self._of:
            shutil.rmtree(self._made, ignore_errors=True)
            self._of = Recipe.uniform("fp32")
            try:
                self._made.mkdir()
            except OSError as error:
                raise ZenEdgeError(f"cannot write beside OUT, in {str(self._made)!a}: {reason(error)}; choose another OUT") from None
            self._write(self._made, recipe)
            self._of = recipe
        return self._made

    def _cost(self, folder: Path, recipe: Recipe) -> dict[str, float]:
        error = 1 - self._probed.some(folder, recipe).cosine
        return {"error": error, "bytes": float(sum(file.stat().st_size for file in folder.iterdir())), **self._seconds(folder)}

    def _loss(self, folder: Path, recipe: Recipe, half: int) -> float:
        if self.budget.metric in SCORES:
            return self.budget.loss(self._found[f"score {half}"]["score"], self._score(self.halves[half], self._answers(recipe, half)))
        found = self._probed.all(folder, recipe, half)
        return 1 - (found.cosine if self.budget.metric == "cosine" else found.same)

    def _sources(self, half: int) -> list[Any]:
        sources: list[Any] = [_pair(line) for line in self.halves[half]]
        if self.task != "speech-recognition":
            return sources
        from zen_edge.runtimes.audio import load_extractor, read_audio
        from zen_edge.runtimes.pipelines.recognizer import read_config

        rate = load_extractor(read_config(self.bundle)).sampling_rate
        return [read_audio(source, None, rate) for source in sources]

    def _answers(self, recipe: Recipe, half: int) -> list[Any]:
        """What is said first of each line, or the error of one that cannot be answered."""
        name = _name(recipe, f"answers {half}")
        if name not in self._said:
            self._said[name] = self._answered(self._folder(recipe), self.halves[half])
        return self._said[name]

    def _answered(self, folder: Path, lines: Sequence[Lines]) -> list[Any]:
        from zen_edge.runtimes import load

        with load(folder, device="cpu") as opened:
            pipeline: Any = opened
            if self.task == "question-answering":
                asked = [{"question": line.question, "context": line.context} for line in lines if isinstance(line, Question)]
                found = pipeline.generate_each(asked, handle_impossible_answer=_none_at_times(lines))
            else:
                options = {} if any(graph.name == "ctc" for graph in read_manifest(folder).graphs) else {"num_beams": 1}
                found = pipeline.generate_each([_pair(line) for line in lines], **options)
        return [told if isinstance(told, ZenEdgeError) else told[0] for told in found]

    def _score(self, lines: Sequence[Lines], answers: Sequence[Any]) -> float:
        for line, told in zip(lines, answers, strict=True):
            if isinstance(told, ZenEdgeError):
                raise InputError(f"the line {_text(line)[:80]!a}: {told}")
        texts = [told.text for told in answers]
        if self.task == "question-answering":
            found = answer_scores(texts, [line.answers for line in lines if isinstance(line, Question)])
        else:
            found = scores(self.task, texts, [str(line.target) for line in lines if isinstance(line, Line)])
        return found[SCORES[self.budget.metric]]

    def _seconds(self, folder: Path) -> dict[str, float]:
        """Of processor time, which other processes disturb least; in turns with fp32, whose times change with the machine's as these do."""
        from zen_edge.runtimes import load

        if self._timed is None:
            self._timed = fp32, sources = load(self.bundle, device="cpu", threads=1), [_pair(line) for line in self.halves[0]][:TIMED]
            _taken(fp32, sources[:1])
            while len(sources) > 1 and _taken(fp32, sources) > ROUND_S:
                del sources[-1]
        fp32, sources = self._timed
        if folder == self.bundle:
            taken = [_taken(fp32, sources) for _ in range(ROUNDS)]
            return {"seconds": min(taken), "spread": float(np.median(taken)) - min(taken)}
        whole = self.alone(Recipe.uniform("fp32"))["seconds"]
        with load(folder, device="cpu", threads=1) as after:
            pairs = [(_taken(fp32, sources), _taken(after, sources)) for _ in range(ROUNDS)]
        ratios = sorted(after / before for before, after in pairs)
        return {"seconds": whole * float(np.median(ratios)), "spread": whole * (ratios[-2] - ratios[1]) / 2}  # without the two that are furthest out


def _name(recipe: Recipe, what: str) -> str:
    return f"{what}: {json.dumps(dict(recipe.parts))}"


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


def _text(line: Lines) -> str:
    return line.question if isinstance(line, Question) else line.source


def _none_at_times(lines: Sequence[Lines]) -> bool:
    """Whether "no answer" is right for some of the questions."""
    return any(isinstance(line, Question) and "" in line.answers for line in lines)


def _taken(pipeline: Any, sources: Sequence[Any]) -> float:
    start = time.process_time()
    for source in sources:
        if isinstance(source, tuple):
            pipeline(question=source[0], context=source[1])
        else:
            pipeline(source)
    return time.process_time() - start
