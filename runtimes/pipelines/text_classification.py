"""Text in, its label out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_edge.errors import BundleError, InputError, OptionError, ZenEdgeError
from zen_edge.manifest import Manifest
from zen_edge.runtimes.encoder import Row
from zen_edge.runtimes.pipelines.encoder_pipeline import EncoderPipeline, whole_number
from zen_edge.runtimes.pipelines.scores import Floats, sigmoid, softmax
from zen_edge.runtimes.providers import Device

OPTIONS = ("top_k", "function_to_apply", "text_pair", "overflow")
FUNCTIONS: Mapping[str, Callable[[Floats], Floats]] = {"softmax": softmax, "sigmoid": sigmoid, "none": lambda scores: scores}

Text = str | Mapping[str, str]
"""A text, or {"text": ..., "text_pair": ...}, as in transformers."""


@dataclass(frozen=True)
class Label:
    label: str
    score: float

    def to_json(self) -> dict[str, Any]:
        return {"label": self.label, "score": self.score}


@dataclass(frozen=True)
class Labels:
    """Of one text, the best first."""

    labels: tuple[Label, ...]

    @property
    def text(self) -> str:
        return "\t".join(f"{each.label}\t{each.score:.4f}" for each in self.labels)

    def to_json(self) -> dict[str, Any]:
        several = {"labels": [each.to_json() for each in self.labels]} if len(self.labels) > 1 else {}
        return self.labels[0].to_json() | several


@dataclass(frozen=True)
class Settings:
    """The options of one call, checked. top_k: None for all."""

    function: Callable[[Floats], Floats]
    top_k: int | None
    pair: str | None
    truncate: bool


class Pipeline(EncoderPipeline):
    """A loaded bundle. Safe to share between threads; freed when it is let go of, or at the end of `with`.

    Options are those of transformers' pipeline: `top_k` (labels to give; None for all), `function_to_apply` ("softmax", "sigmoid" or "none"; what the
    checkpoint's problem is otherwise) and `text_pair`, a second text for all. A text longer than the model takes raises InputError, unless
    `overflow="truncate"` asks for its beginning.
    """

    def __init__(self, folder: Path, manifest: Manifest, *, device: Device = "cpu", threads: int | None = None) -> None:
        super().__init__(folder, manifest, device=device, threads=threads)
        self._labels = read_labels(manifest)

    def __call__(self, inputs: Text | Sequence[Text], /, **options: Any) -> Any:
        """The best label of one text, or of each of several in their order; with `top_k` a list of labels for each. Raises the InputError of the first
        that has none."""
        one = isinstance(inputs, str | Mapping)
        found = [labels.labels for (labels,) in self._best([inputs] if one else inputs, options)]  # type: ignore[arg-type]
        answers = [list(labels) if "top_k" in options else labels[0] for labels in found]
        return answers[0] if one else answers

    def generate_each(self, inputs: Sequence[Text], /, **options: Any) -> list[list[Any] | ZenEdgeError]:
        """The `Labels` of each text, in a list of one, or the error of one that has none."""
        settings = self._settings(options)
        return self._each(inputs, partial(self._row, settings=settings), lambda _, outputs: self._told(outputs["logits"], settings))

    def _row(self, given: Text, settings: Settings) -> tuple[None, Row]:
        text, pair = (given.get("text"), given.get("text_pair")) if isinstance(given, Mapping) else (given, None)
        if pair is not None and settings.pair is not None:
            raise InputError("the text comes with a text_pair, and there is one for all: leave one out.")
        encoding = self._encoding(text, pair if settings.pair is None else settings.pair, truncate=settings.truncate)
        return None, {"input_ids": encoding.ids, "token_type_ids": encoding.type_ids}

    def _told(self, logits: NDArray[np.float32], settings: Settings) -> Labels:
        scores = settings.function(logits)
        order = np.argsort(-scores, kind="stable")[: settings.top_k]
        return Labels(tuple(Label(self._labels[i], float(scores[i])) for i in order))

    def _settings(self, options: Mapping[str, Any]) -> Settings:
        """Raises OptionError."""
        given = self._known(options, OPTIONS)
        top_k = None if options.get("top_k", 1) is None else whole_number(given, "top_k", 1, 1)
        name = given.get("function_to_apply", self._usual_function())
        if name not in FUNCTIONS:
            raise OptionError(f"function_to_apply={name!r} is not known; there are: {', '.join(FUNCTIONS)}.")
        if not isinstance(given.get("text_pair"), str | None):
            raise OptionError(f"text_pair must be a text, not {given['text_pair']!r}.")
        return Settings(FUNCTIONS[name], top_k, given.get("text_pair"), self._truncates(given))

    def _usual_function(self) -> str:
        """As transformers chooses it."""
        problem, labels = self.manifest.head.get("problem_type"), len(self._labels)
        if problem == "regression":
            return "none"
        return "sigmoid" if problem == "multi_label_classification" or labels == 1 else "softmax"


def read_labels(manifest: Manifest) -> list[str]:
    labels = manifest.head.get("labels")
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        raise BundleError(f"the manifest names no labels, which {manifest.task} needs: export the model again.")
    return labels
