"""Text with masks in, the words that may stand there out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from zen_edge.errors import BundleError, InputError, OptionError, ZenEdgeError
from zen_edge.manifest import Manifest
from zen_edge.runtimes.encoder import Row
from zen_edge.runtimes.pipelines.encoder_pipeline import EncoderPipeline, whole_number
from zen_edge.runtimes.pipelines.scores import softmax
from zen_edge.runtimes.providers import Device

OPTIONS = ("top_k", "targets", "overflow")
USUAL = 5  # words for a mask


@dataclass(frozen=True)
class Fill:
    """A word for one mask. token: its id. sequence: the text with it, other masks left as they are."""

    token: int
    token_str: str
    score: float
    sequence: str

    def to_json(self) -> dict[str, Any]:
        return {"token": self.token, "token_str": self.token_str, "score": self.score, "sequence": self.sequence}


@dataclass(frozen=True)
class Fills:
    """Of one text: for each mask its words, the best first."""

    masks: tuple[tuple[Fill, ...], ...]

    @property
    def text(self) -> str:
        if len(self.masks) == 1:
            return f"{' '.join(self.masks[0][0].sequence.splitlines())}\t{self.masks[0][0].score:.4f}"
        return "\t".join(f"{' '.join(fills[0].token_str.split())}\t{fills[0].score:.4f}" for fills in self.masks)

    def to_json(self) -> dict[str, Any]:
        every = [[fill.to_json() for fill in fills] for fills in self.masks]
        return every[0][0] | {"fills": every[0]} if len(every) == 1 else {"masks": every}


@dataclass(frozen=True)
class Settings:
    """The options of one call, checked. targets: ids that may be chosen; None: all."""

    top_k: int
    targets: NDArray[np.int64] | None
    truncate: bool


class Pipeline(EncoderPipeline):
    """A loaded bundle. Safe to share between threads; freed when it is let go of, or at the end of `with`.

    Options are those of transformers' pipeline: `top_k` (words for each mask, 5) and `targets`, the words that may be chosen; of one that is several
    tokens the first is taken. A text longer than the model takes raises InputError, unless `overflow="truncate"` asks for its beginning.
    """

    def __init__(self, folder: Path, manifest: Manifest, *, device: Device = "cpu", threads: int | None = None) -> None:
        super().__init__(folder, manifest, device=device, threads=threads)
        try:
            self._mask, self._mask_id = str(manifest.head["mask_token"]), int(manifest.head["mask_token_id"])
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError("the manifest does not name the token that stands for a mask: export the model again.") from error

    def __call__(self, inputs: str | Sequence[str], /, **options: Any) -> Any:
        """The words for the mask of one text, best first, or of each of several texts in their order; of a text with several masks a list of these for
        each. Raises the InputError of the first without a mask."""
        found = [fills.masks for (fills,) in self._best([inputs] if isinstance(inputs, str) else inputs, options)]
        answers = [list(masks[0]) if len(masks) == 1 else [list(fills) for fills in masks] for masks in found]
        return answers[0] if isinstance(inputs, str) else answers

    def generate_each(self, inputs: Sequence[str], /, **options: Any) -> list[list[Any] | ZenEdgeError]:
        """The `Fills` of each text, in a list of one, or the error of one that has none."""
        settings = self._settings(options)
        return self._each(inputs, partial(self._row, settings=settings), lambda encoding, outputs: self._told(encoding, outputs["logits"], settings))

    def _row(self, text: str, settings: Settings) -> tuple[Encoding, Row]:
        encoding = self._encoding(text, truncate=settings.truncate)
        places = self._places(encoding)
        if not places:
            raise InputError(
                f"there is no {self._mask} in the text{', or not in its beginning' if settings.truncate else ''}: write it where a word is wanted."
            )
        return encoding, {"input_ids": encoding.ids, "token_type_ids": encoding.type_ids, "mask_positions": places}

    def _places(self, encoding: Encoding) -> list[int]:
        return [place for place, id in enumerate(encoding.ids) if id == self._mask_id]

    def _told(self, encoding: Encoding, logits: NDArray[np.float32], settings: Settings) -> Fills:
        """logits: (M,V)."""
        places = self._places(encoding)
        chances = softmax(logits)
        if settings.targets is not None:
            chances = chances[:, settings.targets]
        masks = []
        for place, row in zip(places, chances, strict=True):
            best = np.argpartition(-row, min(settings.top_k, len(row)) - 1)[: settings.top_k]
            best = best[np.argsort(-row[best], kind="stable")]
            ids = best if settings.targets is None else settings.targets[best]
            masks.append(tuple(self._fill(encoding, place, int(id), float(row[i]), len(places)) for i, id in zip(best, ids, strict=True)))
        return Fills(tuple(masks))

    def _fill(self, encoding: Encoding, place: int, id: int, score: float, masks: int) -> Fill:
        ids = [id if i == place else other for i, other in enumerate(encoding.ids)]
        ids = [other for other in ids if other != self._tokenizer.pad_token_id]
        # Other masks are special tokens, and are to be seen.
        sequence = self._tokenizer.decode(ids) if masks == 1 else self._tokenizer.decode_every(ids)
        return Fill(id, self._tokenizer.decode_every([id]), score, sequence)

    def _settings(self, options: Mapping[str, Any]) -> Settings:
        """Raises OptionError."""
        given = self._known(options, OPTIONS)
        return Settings(whole_number(given, "top_k", 1, USUAL), self._target_ids(given.get("targets")), self._truncates(given))

    def _target_ids(self, targets: Any) -> NDArray[np.int64] | None:
        if targets is None:
            return None
        words = [targets] if isinstance(targets, str) else targets
        if not isinstance(words, Sequence) or not words or not all(isinstance(word, str) for word in words):
            raise OptionError(f"targets must be a word or a list of words, not {targets!r}.")
        ids = {id for word in words for id in self._tokenizer.first_token(word)}
        if not ids:
            raise OptionError(f"none of the targets is a word of the model: {', '.join(map(repr, words))}.")
        return np.array(sorted(ids), np.int64)
