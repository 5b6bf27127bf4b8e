"""Whisper: texts without the tokens that tell times, and without what stood before the transcript."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zen_edge.errors import OptionError
from zen_edge.runtimes.tokenization.fast import FastTokenizer

TIME = re.compile(r"<\|(\d+\.\d+)\|>")


def load(folder: Path, settings: Mapping[str, Any]) -> "WhisperTokenizer":
    """Reads tokenizer.json."""
    return WhisperTokenizer(folder, settings)


class WhisperTokenizer(FastTokenizer):
    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        super().__init__(folder, settings)
        self._previous, self._transcript = int(settings["start_of_previous_id"]), int(settings["start_of_transcript_id"])
        self._first_special = int(settings["first_special_id"])

    def decode(self, ids: Sequence[int]) -> str:
        if len(ids) and ids[0] == self._previous:
            places = [place for place, id in enumerate(ids) if id == self._transcript]
            ids = ids[places[0] :] if places else ()
        return TIME.sub("", super().decode(ids))

    def prompt_ids(self, text: str) -> list[int]:
        """What goes before a transcript so that it is taken for text that was said just before. OptionError for text with special tokens in it."""
        ids = self.encode_target(" " + text.strip())
        if special := [id for id in ids if id >= self._first_special]:
            raise OptionError(f"the prompt holds special tokens ({special[:3]}), which would change what the model is asked for: leave them out.")
        return [self._previous, *ids]
