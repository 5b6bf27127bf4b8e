"""Text in, the entities named in it out: labels of its tokens, or of groups of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
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

OPTIONS = ("aggregation_strategy", "ignore_labels", "stride", "overflow", "is_split_into_words", "delimiter")


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
    """The options of one call, checked. stride: tokens that parts of a long text share; None: a text that is too long is an error, or cut. delimiter: what stands
    between the words that inputs are; None: they are texts."""

    strategy: str
    ignored: frozenset[str]
    stride: int | None
    truncate: bool
    delimiter: str | None


@dataclass(frozen=True)
class _Read:
    """An input. given: a text, or its words. text: the text, where words are joined. starts: at which character each word begins; empty where a text was given."""

    given: str | tuple[str, ...]
    text: str
    starts: tuple[int, ...] = ()


class Pipeline(EncoderPipeline):
    """A loaded bundle. Safe to share between threads; freed when it is let go of, or at the end of `with`.

    Options are those of transformers' pipeline: `aggregation_strategy` ("none", "simple", "first", "average" or "max"), `ignore_labels` (["O"]) and
    `stride`, with which a long text is read in parts that share so many tokens. Without it a text longer than the model takes raises InputError, unless
    `overflow="truncate"` asks for its beginning. With `is_split_into_words` an input is a list of words; places are those of the words joined by `delimiter` (" ").
    """

    def __init__(self, folder: Path, manifest: Manifest, *, device: Device = "cpu", threads: int | None = None) -> None:
        super().__init__(folder, manifest, device=device, threads=threads)
        self._labels = read_labels(manifest)

    def __call__(self, inputs: str | Sequence[str] | Sequence[Sequence[str]], /, **options: Any) -> list[Entity] | list[list[Entity]]:
        """The entities of one text, or of each of several in their order; texts may be lists of words. Raises the InputError of the first that is refused."""
        split = bool(options.get("is_split_into_words")) and len(inputs) > 0 and all(isinstance(word, str) for word in inputs)
        one = isinstance(inputs, str) or split
        found = [list(entities.entities) for (entities,) in self._best([inputs] if one else inputs, options)]
        return found[0] if one else found

    def generate_each(self, inputs: Sequence[Any], /, **options: Any) -> list[list[Any] | ZenEdgeError]:
        """The `Entities` of each text, in a list of one, or the error of one that is refused."""
        model, settings = self._open_model(), self._settings(options)
        reads: dict[int, _Read] = {}
        parts: dict[int, list[Encoding] | InputError] = {}
        for place, given in enumerate(inputs):
            try:
                reads[place] = _read(given, settings.delimiter)
                parts[place] = self._parts(reads[place].given, settings)
            except InputError as error:
                parts[place] = error
        every = [(place, part) for place, found in parts.items() if not isinstance(found, InputError) for part in found]
        of_part: dict[int, list[Entity]] = {}
        for number, outputs in model.run([{"input_ids": part.ids, "token_type_ids": part.type_ids} for _, part in every]):
            place, part = every[number]
            of_part[number] = self._told(reads[place], part, outputs["logits"], settings)
        told: dict[int, list[list[Entity]]] = {place: [] for place in parts}
        for number, (place, _) in enumerate(every):
            told[place].append(of_part[number])
        return [found if isinstance(found, InputError) else [_joined(told[place])] for place, found in parts.items()]

    def _parts(self, text: str | tuple[str, ...], settings: Settings) -> list[Encoding]:
        if settings.stride is None:
            return [self._encoding(text, truncate=settings.truncate)]
        return self._tokenizer.parts(text, most=self._most, stride=settings.stride)

    def _told(self, read: _Read, part: Encoding, logits: NDArray[np.float32], settings: Settings) -> list[Entity]:
        """logits: (T,L)."""
        scores, marked, unknown = softmax(logits), self._tokenizer.marks_word_pieces, self.manifest.head.get("unk_token_id")
        tokens, text, first = [], read.text, [0 if place is None or not read.starts else read.starts[place] for place in part.word_ids]
        for index, (id, word, (start, end), special) in enumerate(zip(part.ids, part.tokens, part.offsets, part.special_tokens_mask, strict=True)):
            if special:
                continue
            start, end = first[index] + start, first[index] + end
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
        split, delimiter = given.get("is_split_into_words", False), given.get("delimiter")
        if not isinstance(split, bool):
            raise OptionError(f"is_split_into_words must be true or false, not {split!r}.")
        if delimiter is not None and (not split or not isinstance(delimiter, str)):
            raise OptionError(f"delimiter is a text that stands between words, for is_split_into_words=True; given is {delimiter!r}.")
        return Settings(strategy, frozenset(ignored), stride, self._truncates(given), (" " if delimiter is None else delimiter) if split else None)


def _read(given: Any, delimiter: str | None) -> _Read:
    """Raises InputError for what is no text, or with a delimiter no list of words."""
    if delimiter is None:
        return _Read(require_text(given), given)
    if isinstance(given, str) or not isinstance(given, Sequence) or not all(isinstance(word, str) for word in given):
        raise InputError(f"is_split_into_words expects a list of words, not a value of type {type(given).__name__}.")
    ends = accumulate((len(word) + len(delimiter) for word in given), initial=0)
    return _Read(tuple(given), delimiter.join(given), tuple(ends)[: len(given)])


def _joined(parts: Sequence[Sequence[Entity]]) -> Entities:
    """The entities of a text from those of its parts."""
    return Entities(tuple(parts[0]) if len(parts) == 1 else tuple(without_overlaps(chain.from_iterable(parts))))
