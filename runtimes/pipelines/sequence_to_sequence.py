"""An encoder and a step of one's own: text to text in declared words, or ids to ids where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zen_edge.errors import InputError
from zen_edge.manifest import Manifest
from zen_edge.runtimes.attention import AttendingEncoderStep
from zen_edge.runtimes.encoder_step import EncoderStep
from zen_edge.runtimes.pipelines.text_to_text import TextToText
from zen_edge.runtimes.providers import Device

Row = Sequence[int]


class Pipeline(TextToText):
    """A loaded bundle, with the options, results and streams of a translation. A bundle without a vocabulary takes ids, a row or several, and gives a row of
    ids for each: `pipeline([5, 8, 3])`; written as a text they stand between spaces. A text whose padding would change its answer is decoded beside others of
    its length only."""

    def __init__(self, folder: Path, manifest: Manifest, *, device: Device = "cpu", threads: int | None = None) -> None:
        super().__init__(folder, manifest, device=device, threads=threads)
        self._of_ids = dict(manifest.tokenizer["source"]).get("unit") == "numbers"

    @staticmethod
    def _load(folder: Path, manifest: Manifest, device: Device, threads: int | None) -> EncoderStep:
        return EncoderStep(folder, manifest, device, threads)

    def __call__(self, inputs: Any, /, **options: Any) -> Any:
        """The best text for one line, or for each of several in their order; of ids the best ids, without start, end and padding."""
        ids = self._of_ids and _first(inputs) is not None
        found = super().__call__(self._lines(inputs), **options)
        if ids:
            rows = [[int(id) for id in text.split()] for text in found]
            return rows[0] if isinstance(_first(inputs), int) else rows
        return found[0] if isinstance(inputs, str) else found

    def stream(self, text: Any, /, **options: Any) -> Any:
        return super().stream(self._lines(text)[0] if self._of_ids and not isinstance(text, str) else text, **options)

    def attend(self, inputs: Any, /, **options: Any) -> Any:
        """As of a translation: "cross", from each word to the source."""
        found = super().attend(self._lines(inputs), **options)
        return found[0] if isinstance(inputs, str) or isinstance(_first(inputs), int) else found

    def _attending_model(self) -> AttendingEncoderStep:
        return self._attending.encoder_step()

    def _lines(self, inputs: object) -> Sequence[str]:
        if not self._of_ids or isinstance(inputs, str):
            return super()._lines(inputs)
        first = _first(inputs)
        if first is None:
            return super()._lines(inputs)
        rows: Any = [inputs] if isinstance(first, int) else inputs
        return [_written(row) for row in rows]

    def _apart(self, ids: Sequence[int], start: tuple[int, ...]) -> tuple[int, ...]:
        model: EncoderStep = self._open_model()
        return (len(start), 0 if model.is_padded else len(ids))


def _first(inputs: object) -> int | Row | None:
    """The first id or row of ids that a call is given; None where it is given texts."""
    if isinstance(inputs, np.ndarray):
        inputs = inputs.tolist()
    if not isinstance(inputs, Sequence) or isinstance(inputs, str | bytes) or not inputs:
        return None
    first: Any = inputs[0]
    if isinstance(first, np.ndarray | np.generic):
        first = first.tolist()
    return None if isinstance(first, str) else first


def _written(row: Any) -> str:
    numbers = row.tolist() if isinstance(row, np.ndarray) else row
    if isinstance(numbers, str):
        return numbers
    if not isinstance(numbers, Sequence) or not all(isinstance(id, int | np.integer) and not isinstance(id, bool) and id >= 0 for id in numbers):
        raise InputError(f"expected a row of ids, numbers from 0 up, got {row!r}.")
    return " ".join(str(int(id)) for id in numbers)
