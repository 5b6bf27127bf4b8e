"""Text in, text out, through an encoder-decoder bundle: what translation and summarization share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Self, overload

import numpy as np

from zen_edge.errors import InputError, OptionError, ZenEdgeError
from zen_edge.manifest import Manifest
from zen_edge.runtimes.batching import batches, pad
from zen_edge.runtimes.decoding import GenerationOptions, Search, SearchState, Sequence_, search
from zen_edge.runtimes.decoding.checks import check_in_vocabulary
from zen_edge.runtimes.encoder_decoder import EncoderDecoder
from zen_edge.runtimes.text.documents import TRANSLATE, Treatment, answer_all
from zen_edge.runtimes.text.pieces import Fit, Pieces
from zen_edge.runtimes.text.repetition import guard_size, is_degenerate
from zen_edge.runtimes.tokenization import load_tokenizer
from zen_edge.runtimes.tokenization.streaming import TextStream

OVERFLOWS = ("error", "split", "truncate")
OWN_OPTIONS = ("overflow", "repetition_guard", "source_lang", "target_lang")  # the others are the search's
SPLIT_AT = 512  # tokens, where neither the model nor its tokenizer has a limit: T5 was trained on as many
LANGUAGE = re.compile(r"\s*>>([^<>\s]+)<<\s*")  # before a text, how Marian models with several target languages are told which
SHORTER = 0.8  # of a text: what a summary must be to be worth summarizing again


@dataclass(frozen=True)
class _Settings:
    """The options of one call, checked."""

    generation: GenerationOptions
    overflow: str = "error"
    repetition_guard: bool = False
    source_lang: str | None = None
    target_lang: str | None = None


@dataclass(frozen=True)
class Hypothesis:
    """One result. tokens: the ids after the decoder's start, end token included. score: transformers' `sequences_scores`; for greedy search
    the mean log-probability of the tokens. repetition_guard: the output went round in circles, and this one was decoded in its place. segments: the
    parts of a text that was split; tokens are then those of the parts one after another, and score the mean of theirs, by tokens."""

    text: str
    tokens: tuple[int, ...]
    score: float
    repetition_guard: bool = False
    segments: tuple[Segment, ...] = ()


class Segment(NamedTuple):
    """A part of a text that was split, as it stands there, and its result."""

    source: str
    hypothesis: Hypothesis


class TextToText:
    """A loaded bundle. Safe to share between threads; freed when it is let go of, or at the end of `with`.

    Options are transformers' own (`num_beams`, `max_new_tokens`, ...); what is not given comes from the bundle's generation config. Unknown ones
    raise OptionError. `source_lang` and `target_lang` choose languages where the model knows several. A line longer than the model can take
    raises InputError, unless `overflow="truncate"` asks for its beginning only, or `overflow="split"` for all of it in parts. A blank line gives an
    empty text. `repetition_guard=True` decodes an output that goes round in circles again, with a larger `no_repeat_ngram_size`; with `overflow="split"`
    it is on unless it is False.
    """

    treatment: ClassVar[Treatment] = TRANSLATE  # of a text longer than the model

    def __init__(self, folder: Path, manifest: Manifest, *, device: str = "cpu", threads: int | None = None) -> None:
        self.manifest = manifest
        self._tokenizer = load_tokenizer(folder, manifest.tokenizer)
        self._model: EncoderDecoder | None = EncoderDecoder(folder, manifest, device, threads)

    @overload
    def __call__(self, inputs: str, /, **options: Any) -> str: ...
    @overload
    def __call__(self, inputs: Sequence[str], /, **options: Any) -> list[str]: ...
    def __call__(self, inputs: str | Sequence[str], /, **options: Any) -> str | list[str]:
        """The best text for one line, or for each of several in their order."""
        texts = [best.text for best, *_ in self._all_answers(inputs, options, scores=False)]
        return texts[0] if isinstance(inputs, str) else texts

    def generate(self, inputs: str | Sequence[str], /, **options: Any) -> list[list[Hypothesis]]:
        """`num_return_sequences` results for each line, best first."""
        return self._all_answers(inputs, options, scores=True)

    def generate_each(self, inputs: str | Sequence[str], /, **options: Any) -> list[list[Hypothesis] | ZenEdgeError]:
        """Like `generate`, but a line that cannot be answered gives its error in place of results, and the others are answered."""
        found = dict(self._answers(_lines(inputs), options, scores=True))
        return [found[i] for i in range(len(found))]

    def stream(self, text: str, /, **options: Any) -> Iterator[str]:
        """Pieces of the best text as soon as they cannot change any more; joined, they are what calling the pipeline gives.

        A text that is split comes part by part, its summary at once; so does all that the repetition guard may decode again.
        """
        settings = self._settings(options)
        pieces = self._pieces(text, settings)
        ids = self._encode(text, settings) if pieces is None else []
        if pieces is not None and not self.treatment.again:
            return self._stream_pieces(pieces, settings)
        if pieces is not None or settings.repetition_guard:
            return self._stream_whole(text, options)
        return self._stream(ids, settings)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of generated ids, special tokens left out."""
        return self._tokenizer.decode(tokens)

    def close(self) -> None:
        self._model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _all_answers(self, inputs: str | Sequence[str], options: Mapping[str, Any], *, scores: bool) -> list[list[Hypothesis]]:
        """Raises the InputError of the first line that has no answer."""
        lines = _lines(inputs)
        found: dict[int, list[Hypothesis]] = {}
        for i, answer in self._answers(lines, options, scores=scores):
            if isinstance(answer, InputError):
                raise InputError(f"input {i + 1} of {len(lines)}: {answer}") if len(lines) > 1 else answer
            found[i] = answer
        return [found[i] for i in range(len(lines))]

    def _answers(self, lines: Sequence[str], options: Mapping[str, Any], *, scores: bool) -> Iterator[tuple[int, list[Hypothesis] | InputError]]:
        """(line, answer) of every line, in any order."""
        settings = self._settings(options)
        if settings.overflow != "split":
            return self._input_answers(lines, settings, scores=scores)
        return answer_all(
            enumerate(lines),
            divide=lambda text: self._pieces(text, settings),
            ask=lambda texts: self._input_answers(texts, settings, scores=scores),
            merge=lambda pieces, answers: self._merged(pieces, [best for best, *_ in answers], settings),
        )

    def _input_answers(self, lines: Sequence[str], settings: _Settings, *, scores: bool) -> Iterator[tuple[int, list[Hypothesis] | InputError]]:
        """(line, answer) of lines that are one input each: first those that need no model, then the others by length, last those decoded twice."""
        rows: dict[int, list[int]] = {}
        for i, text in enumerate(lines):
            try:
                ids = self._encode(text, settings)
            except InputError as error:
                yield i, error
                continue
            if ids:
                rows[i] = ids
            else:
                yield i, [Hypothesis("", (), 0.0)] * settings.generation.num_return_sequences
        again: dict[int, dict[int, list[Hypothesis] | InputError]] = {}  # first answers, by the guard that they need
        for i, answer in self._decoded(rows, settings, scores=scores):
            if size := self._guard(lines[i], rows[i], answer, settings):
                again.setdefault(size, {})[i] = answer
            else:
                yield i, answer
        for size, first in again.items():
            guarded = replace(settings, generation=_with_guard(settings.generation, size))
            for i, answer in self._decoded({i: rows[i] for i in first}, guarded, scores=scores):
                yield i, first[i] if isinstance(answer, InputError) else [replace(one, repetition_guard=True) for one in answer]

    def _decoded(self, rows: Mapping[int, list[int]], settings: _Settings, *, scores: bool) -> Iterator[tuple[int, list[Hypothesis] | InputError]]:
        """(number, answer) of numbered ids, in sorted batches."""
        order = list(rows)
        width = max(settings.generation.num_beams, settings.generation.num_return_sequences)
        for batch in batches([len(rows[i]) for i in order], width):
            members = [order[j] for j in batch]
            found, failure = _run(self._search([rows[i] for i in members], settings, scores=scores), len(members))
            for i, sequences in zip(members, found, strict=True):
                if sequences is not None:
                    yield i, [Hypothesis(self._tokenizer.decode(one.tokens), one.tokens, one.score) for one in sequences]
                elif failure is not None:
                    yield i, failure

    def _guard(self, text: str, ids: list[int], answer: list[Hypothesis] | InputError, settings: _Settings) -> int:
        """The no_repeat_ngram_size with which to decode again; 0 for an answer to keep, which no error is: only a loop has no end."""
        size = guard_size(ids, text) if settings.repetition_guard else 0
        if not size or 0 < settings.generation.as_dict()["no_repeat_ngram_size"] <= size:
            return 0
        if isinstance(answer, InputError):
            return size
        cut_off = len(answer[0].tokens) >= settings.generation.length_limit(1) - 1
        return size if is_degenerate(answer[0].tokens, answer[0].text, ids, text, cut_off=cut_off) else 0

    def _pieces(self, text: str, settings: _Settings) -> Pieces | None:
        """The parts of a text longer than the model; None where it is one input, or will not be split. Raises InputError where it cannot be."""
        if settings.overflow != "split" or not isinstance(text, str) or not text.strip() or self._fits(text, settings):
            return None
        if settings.generation.num_return_sequences > 1:
            raise InputError("a text longer than the model is split, and its parts have one result each: leave num_return_sequences at 1.")
        language = LANGUAGE.match(text)
        head = language.group() if language and self._speaks(language[1]) else ""

        def tokens(part: str) -> int:
            return len(self._ids(head + part, settings))

        limit = self.treatment.piece_limit(self._split_at, settings.generation.length_limit(1) - 1)
        pieces = self.treatment.divide(text[len(head) :], Fit(tokens, limit), settings.source_lang or self.manifest.tokenizer.get("source_lang"))
        return replace(pieces, sources=tuple(head + source for source in pieces.sources)) if head else pieces

    def _merged(self, pieces: Pieces, answers: list[Hypothesis], settings: _Settings) -> list[Hypothesis] | str:
        """The answer of a text whose parts have these, or what to treat in its place."""
        text = self.treatment.join(pieces, [answer.text for answer in answers])
        if self.treatment.again and len(text) <= SHORTER * len(pieces.text) and not self._fits(text, settings):
            return text
        segments = tuple(Segment(pieces.text[start:end], answer) for (start, end), answer in zip(pieces.spans, answers, strict=True))
        tokens = tuple(token for answer in answers for token in answer.tokens)
        score = sum(answer.score * len(answer.tokens) for answer in answers) / max(1, len(tokens))
        return [Hypothesis(text, tokens, score, any(answer.repetition_guard for answer in answers), segments)]

    def _stream_pieces(self, pieces: Pieces, settings: _Settings) -> Iterator[str]:
        shown = ""
        for place, source in enumerate(pieces.sources):
            ((_, answer),) = self._input_answers([source], settings, scores=False)
            if isinstance(answer, InputError):
                raise answer
            before = pieces.between(place - 1, shown, answer[0].text) if place else pieces.text[: pieces.spans[0][0]]
            shown = answer[0].text
            if before + shown:
                yield before + shown
        if after := pieces.text[pieces.spans[-1][1] if pieces.spans else 0 :]:
            yield after

    def _stream_whole(self, text: str, options: Mapping[str, Any]) -> Iterator[str]:
        ((best, *_),) = self._all_answers(text, options, scores=False)
        if best.text:
            yield best.text

    def _stream(self, ids: list[int], settings: _Settings) -> Iterator[str]:
        if not ids:
            return
        shown = TextStream(self._tokenizer.decode)
        steps = self._search([ids], settings, scores=False)
        while True:
            try:
                state = next(steps)
            except StopIteration as end:
                last = shown.close(end.value[0][0].tokens)
                if last:
                    yield last
                return
            piece = shown.push(state.settled()[0])
            if piece:
                yield piece

    def _search(self, rows: list[list[int]], settings: _Settings, *, scores: bool) -> Search:
        model, generation = self._open_model(), settings.generation
        ids, mask = pad(rows, self._tokenizer.pad_token_id)
        start = np.full((len(rows), 1), generation.start_token_id, np.int64)
        return search(model.step, model.encode(ids, mask), start, generation, vocab_size=model.vocab_size, scores=scores, encoder_ids=rows)

    def _open_model(self) -> EncoderDecoder:
        if self._model is None:
            raise ZenEdgeError("this pipeline is closed; load the bundle again.")
        return self._model

    def _settings(self, options: Mapping[str, Any]) -> _Settings:
        """Raises OptionError before any line is looked at, ZenEdgeError for a closed pipeline."""
        model = self._open_model()
        own = {name: options[name] for name in OWN_OPTIONS if name in options}
        asked = {name: options[name] for name in options.keys() - own.keys()}
        language = self._tokenizer.forced_bos_token_id(own["target_lang"]) if own.get("target_lang") is not None else None
        if language is not None:
            asked.setdefault("forced_bos_token_id", language)
        generation = GenerationOptions.from_defaults(self.manifest.generation, **asked)
        check_in_vocabulary("decoder_start_token_id", [generation.start_token_id], model.vocab_size)
        check_in_vocabulary("pad_token_id", [generation.filler_token_id], model.vocab_size)
        generation.active_rules(1, model.vocab_size)  # raises for lengths and token ids that do not fit the model
        settings = _Settings(generation, **{"repetition_guard": own.get("overflow") == "split", **own})
        if settings.overflow not in OVERFLOWS:
            raise OptionError(f"overflow={settings.overflow!r} is not known; there are: {', '.join(OVERFLOWS)}.")
        if not isinstance(settings.repetition_guard, bool):
            raise OptionError(f"repetition_guard must be true or false, not {settings.repetition_guard!r}.")
        self._tokenizer.encode("", source_lang=settings.source_lang, target_lang=settings.target_lang)  # a language it does not have
        return settings

    def _encode(self, text: str, settings: _Settings) -> list[int]:
        """The ids of a line, none for a blank one. Raises InputError for what is not text and for a line too long."""
        if not isinstance(text, str):
            raise InputError(f"expected a text, got {_kind(text)}.")
        if not text.strip():
            return []
        ids = self._ids(text, settings)
        longest = self.manifest.limits.get("max_source_length")
        if longest is None or len(ids) <= longest:
            return ids
        if settings.overflow == "truncate":
            return [*ids[: longest - 1], ids[-1]]  # the end token stays
        raise InputError(
            f'the text has {len(ids)} tokens, the model takes {longest}: shorten it, or ask for overflow="split" (all of it, in parts) or '
            'overflow="truncate" (its beginning only).'
        )

    def _ids(self, text: str, settings: _Settings) -> list[int]:
        return self._tokenizer.encode(text, source_lang=settings.source_lang, target_lang=settings.target_lang)

    @property
    def _split_at(self) -> int:
        """Most tokens of an input that is not split."""
        return self.manifest.limits.get("max_source_length") or self._tokenizer.max_length or SPLIT_AT

    def _fits(self, text: str, settings: _Settings) -> bool:
        return len(self._ids(text, settings)) <= self._split_at

    def _speaks(self, language: str) -> bool:
        try:
            self._tokenizer.forced_bos_token_id(language)
        except OptionError:
            return False
        return True


def _with_guard(generation: GenerationOptions, size: int) -> GenerationOptions:
    return GenerationOptions.from_defaults({}, **{**generation.as_dict(), "no_repeat_ngram_size": size})


def _lines(inputs: object) -> Sequence[str]:
    """One text, or a list of texts, as a sequence. Its items are looked at later, each by itself."""
    if isinstance(inputs, str):
        return [inputs]
    if isinstance(inputs, Sequence) and not isinstance(inputs, bytes | bytearray | memoryview):
        return inputs
    raise InputError(f"expected a text or a list of texts, got {_kind(inputs)}.")


def _kind(value: object) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _run(steps: Search, count: int) -> tuple[Sequence[list[Sequence_] | None], InputError | None]:
    """What the search gives to each of `count` inputs. Where the model fails on the way, the error, and None for the inputs not yet answered."""
    state: SearchState | None = None
    while True:
        try:
            state = next(steps)
        except StopIteration as end:
            return end.value, None
        except InputError as error:
            return state.finished() if state else [None] * count, error
