"""Text in, the entities named in it out: labels of its tokens, or of groups of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from zen_edge.errors import InputError, OptionError, ZenEdgeError
from zen_edge.manifest import Manifest
from zen_edge.runtimes.pipelines.encoder_pipeline import EncoderPipeline, require_text, whole_number
from zen_edge.runtimes.pipelines.entities import STRATEGIES, Entity, Token, entities, without_overlaps
from zen_edge.runtimes.pipelines.scores import softmax
from zen_edge.runtimes.pipelines.text_classification import read_labels
from zen_edge.runtimes.providers import Device

OPTIONS = ("aggregation_strategy", "ignore_labels", "stride", "overflow")


@dataclass(frozen=True)
class Entities:
    """Of one text, in the order of its tokens."""

    entities: tuple[Entity, ...]

    @property
    def text(self) -> str:
        return "\t".join(f"{one.entity}\t{' '.join(one.word.split())}" for one in self.entities)

    def to_json(self) -> dict[str, Any]:
        return {"entities": [one.to_json() for one in self.entities]}


@dataclass(frozen=True)
class Settings:
    """The options of one call, checked. stride: tokens that parts of a long text share; None: a text that is too long is an error, or cut."""

    strategy: str
    ignored: frozenset[str]
    stride: int | None
    truncate: bool


class Pipeline(EncoderPipeline):
    """A loaded bundle. Safe to share between threads; freed when it is let go of, or at the end of `with`.

    Options are those of transformers' pipeline: `aggregation_strategy` ("none", "simple", "first", "average" or "max"), `ignore_labels` (["O"]) and
    `stride`, with which a long text is read in parts that share so many tokens. Without it a text longer than the model takes raises InputError, unless
    `overflow="truncate"` asks for its beginning.
    """

    def __init__(self, folder: Path, manifest: Manifest, *, device: Device = "cpu", threads: int | None = None) -> None:
        super().__init__(folder, manifest, device=device, threads=threads)
        self._labels = read_labels(manifest)

    def __call__(self, inputs: str | Sequence[str], /, **options: Any) -> list[Entity] | list[list[Entity]]:
        """The entities of one text, or of each of several in their order. Raises the InputError of the first that is refused."""
        found = [list(entities.entities) for (entities,) in self._best([inputs] if isinstance(inputs, str) else inputs, options)]
        return found[0] if isinstance(inputs, str) else found

    def generate_each(self, inputs: Sequence[str], /, **options: Any) -> list[list[Any] | ZenEdgeError]:
        """The `Entities` of each text, in a list of one, or the error of one that is refused."""
        model, settings = self._open_model(), self._settings(options)
        parts: dict[int, list[Encoding] | InputError] = {}
        for place, text in enumerate(inputs):
            try:
                parts[place] = self._parts(text, settings)
            except InputError as error:
                parts[place] = error
        every = [(place, part) for place, found in parts.items() if not isinstance(found, InputError) for part in found]
        of_part: dict[int, list[Entity]] = {}
        for number, outputs in model.run([{"input_ids": part.ids, "token_type_ids": part.type_ids} for _, part in every]):
            place, part = every[number]
            of_part[number] = self._told(inputs[place], part, outputs["logits"], settings)
        told: dict[int, list[list[Entity]]] = {place: [] for place in parts}
        for number, (place, _) in enumerate(every):
            told[place].append(of_part[number])
        return [found if isinstance(found, InputError) else [_joined(told[place])] for place, found in parts.items()]

    def _parts(self, text: str, settings: Settings) -> list[Encoding]:
        if settings.stride is None:
            return [self._encoding(text, truncate=settings.truncate)]
        return self._tokenizer.parts(require_text(text), most=self._most, stride=settings.stride)

    def _told(self, text: str, part: Encoding, logits: NDArray[np.float32], settings: Settings) -> list[Entity]:
        """logits: (T,L)."""
        scores, marked, unknown = softmax(logits), self._tokenizer.marks_word_pieces, self.manifest.head.get("unk_token_id")
        tokens = []
        for index, (id, word, (start, end), special) in enumerate(zip(part.ids, part.tokens, part.offsets, part.special_tokens_mask, strict=True)):
            if special:
                continue
            said = text[start:end]
            # Where pieces are not marked, those belong together that no space stands before or at the start of.
            inside = len(word) != len(said) if marked else start > 0 and " " not in text[start - 1 : start + 1]
            if id == unknown:
                word, inside = said, False
            tokens.append(Token(word, scores[index], start, end, index, inside))
        found = entities(tokens, self._labels, settings.strategy, self._tokenizer.join)
        return [entity for entity in found if entity.entity not in settings.ignored]

    def _settings(self, options: Mapping[str, Any]) -> Settings:
        """Raises OptionError."""
        given = self._known(options, OPTIONS)
        strategy = given.get("aggregation_strategy", "none")
        if strategy not in STRATEGIES:
            raise OptionError(f"aggregation_strategy={strategy!r} is not known; there are: {', '.join(STRATEGIES)}.")
        ignored = given.get("ignore_labels", ["O"])
        if isinstance(ignored, str) or not isinstance(ignored, Sequence) or not all(isinstance(label, str) for label in ignored):
            raise OptionError(f"ignore_labels must be a list of labels, not {ignored!r}.")
        stride = whole_number(given, "stride", 0, 0) if "stride" in given else None
        if stride is not None and strategy == "none":
            raise OptionError('stride is for entities of groups: choose an aggregation_strategy other than "none" with it.')
        if stride is not None and stride >= self._tokenizer.room(self._most):
            raise OptionError(
                f"stride={stride} must be less than the {self._tokenizer.room(self._most)} tokens of text that the model takes at once."
            )
        return Settings(strategy, frozenset(ignored), stride, self._truncates(given))


def _joined(parts: Sequence[Sequence[Entity]]) -> Entities:
    """The entities of a text from those of its parts."""
    return Entities(tuple(parts[0]) if len(parts) == 1 else tuple(without_overlaps(chain.from_iterable(parts))))
