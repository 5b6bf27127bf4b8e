"""Text in, text out, through an encoder-decoder bundle: what translation and summarization share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, overload

import numpy as np

from zen_edge.attention_map import AttentionMap
from zen_edge.errors import InputError, OptionError, ZenEdgeError
from zen_edge.manifest import Manifest
from zen_edge.runtimes.attention import BLANK, Attending, AttendingEncoderDecoder, AttendingEncoderStep, attend_text
from zen_edge.runtimes.batching import batches, pad
from zen_edge.runtimes.decoding import Search, SearchState, Sequence_, search
from zen_edge.runtimes.encoder_decoder import EncoderDecoder
from zen_edge.runtimes.pipelines.hypothesis import Hypothesis
from zen_edge.runtimes.pipelines.lanes import Lanes
from zen_edge.runtimes.pipelines.long_text import LIMIT, LongText
from zen_edge.runtimes.pipelines.opened import Opened
from zen_edge.runtimes.pipelines.progress import asking, sticky
from zen_edge.runtimes.pipelines.repetition_guard import guarded, needed_guard
from zen_edge.runtimes.pipelines.settings import Settings, SettingsReader
from zen_edge.runtimes.providers import Device
from zen_edge.runtimes.recorded import open_encoder_decoder
from zen_edge.runtimes.text.documents import TRANSLATE, Treatment, answer_all
from zen_edge.runtimes.text.pieces import Pieces
from zen_edge.runtimes.tokenization import load_tokenizer
from zen_edge.runtimes.tokenization.streaming import TextStream


class TextToText(Opened[Any]):
    """A loaded bundle. Safe to share between threads; freed when it is let go of, or at the end of `with`.

    Options are transformers' own (`num_beams`, `max_new_tokens`, ...); what is not given comes from the bundle's generation config. Unknown ones
    raise OptionError. `source_lang` and `target_lang` choose languages where the model knows several. `decoder_prefix` is the target so far;
    `should_stop` is called with the progress after each step, and ends the call where it returns true; docs/decoding.md has all. A line longer than the model can take
    raises InputError, unless `overflow="truncate"` asks for its beginning only, or `overflow="split"` for all of it in parts. A blank line gives an
    empty text. `repetition_guard=True` decodes an output that goes round in circles again, with a larger `no_repeat_ngram_size`; it is on with
    `overflow="split"` unless it is False.
    """

    treatment: ClassVar[Treatment] = TRANSLATE  # of a text longer than the model

    def __init__(self, folder: Path, manifest: Manifest, *, device: Device = "cpu", threads: int | None = None) -> None:
        self.manifest = manifest
        self._tokenizer = load_tokenizer(folder, manifest.tokenizer)
        self._model = self._load(folder, manifest, device, threads)
        there = folder.absolute()  # wherever the process is when they are opened
        self._lanes = Lanes(there, manifest, self.provider, threads, partial(self._load, there, manifest, device, 1))
        self._options = SettingsReader(manifest, self._tokenizer)
        self._attending = Attending(folder, manifest, device, threads)

    @staticmethod
    def _load(folder: Path, manifest: Manifest, device: Device, threads: int | None) -> Any:
        """What `_search` asks, step by step."""
        return open_encoder_decoder(folder, manifest, device, threads)

    def close(self) -> None:
        super().close()
        self._lanes.close()

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
        found = dict(self._answers(self._lines(inputs), options, scores=True))
        return [found[i] for i in range(len(found))]

    def stream(self, text: str, /, **options: Any) -> Iterator[str]:
        """Pieces of the best text as soon as they cannot change any more; joined, they are what calling the pipeline gives.

        A text that is split comes part by part, its summary at once; so does what the repetition guard may decode again.
        """
        settings = self._settings(options, 1, scores=False)
        pieces = self._long_text(settings).pieces(text, len(settings.starts[0]) > 1) if settings.overflow == "split" else None
        if pieces is not None and not self.treatment.again:
            return self._stream_pieces(pieces, settings)
        ids = self._encode(text, settings) if pieces is None else []
        return self._stream_whole(text, options) if pieces is not None or settings.repetition_guard else self._stream(ids, settings)

    @overload
    def attend(self, inputs: str, /, **options: Any) -> AttentionMap: ...
    @overload
    def attend(self, inputs: Sequence[str], /, **options: Any) -> list[AttentionMap]: ...
    def attend(self, inputs: str | Sequence[str], /, **options: Any) -> AttentionMap | list[AttentionMap]:
        """How the model attends while it answers a line, or each of several: to what it reads, and to what it has said. Options are those of a call.

        ZenEdgeError where the bundle was exported without the weights of attention, InputError for a blank line.
        """
        lines = self._lines(inputs)
        settings = self._settings(options, len(lines), scores=False)
        if settings.overflow == "split":
            raise OptionError(
                'overflow="split" answers a text in parts, which attend to nothing outside of them: attend to each part, or take "truncate".'
            )
        model, found = self._attending_model(), list[AttentionMap]()
        for line, start, (best, *_) in zip(lines, settings.starts, self._all_answers(inputs, options, scores=False), strict=True):
            if not best.tokens:
                raise InputError(BLANK)
            found.append(attend_text(model, self._tokenizer, self._encode(line, settings), start[0], best.tokens, best.text))
        return found[0] if isinstance(inputs, str) else found

    def _attending_model(self) -> AttendingEncoderDecoder | AttendingEncoderStep:
        return self._attending.encoder_decoder()

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of generated ids, special tokens left out."""
        return self._tokenizer.decode(tokens)

    def _all_answers(self, inputs: str | Sequence[str], options: Mapping[str, Any], *, scores: bool) -> list[list[Hypothesis]]:
        """Raises the InputError of the first line that has no answer."""
        lines = self._lines(inputs)
        found: dict[int, list[Hypothesis]] = {}
        for i, answer in self._answers(lines, options, scores=scores):
            if isinstance(answer, InputError):
                raise InputError(f"input {i + 1} of {len(lines)}: {answer}") if len(lines) > 1 else answer
            found[i] = answer
        return [found[i] for i in range(len(lines))]

    def _answers(self, lines: Sequence[str], options: Mapping[str, Any], *, scores: bool) -> Iterator[tuple[int, list[Hypothesis] | InputError]]:
        """(line, answer) of every line, in any order."""
        settings = self._settings(options, len(lines), scores=scores)
        if settings.overflow != "split":
            return self._input_answers(list(enumerate(lines)), settings, scores=scores)
        long_text, (should_stop, stopped) = self._long_text(settings), sticky(settings.should_stop)
        settings = replace(settings, should_stop=should_stop)
        return answer_all(
            enumerate(lines),
            divide=lambda line, text: long_text.pieces(text, len(settings.starts[line]) > 1),
            ask=lambda parts: self._input_answers(parts, settings, scores=scores),
            merge=lambda pieces, answers: long_text.merged(pieces, answers, settings.token_log_probs, ended=bool(stopped)),
        )

    def _input_answers(
        self, inputs: Sequence[tuple[int, str]], settings: Settings, *, scores: bool
    ) -> Iterator[tuple[int, list[Hypothesis] | InputError]]:
        """(place, answer) of inputs, each with its line: first those that need no model, then the others by length, last those decoded twice."""
        rows: dict[int, list[int]] = {}
        for place, (_, text) in enumerate(inputs):
            try:
                ids = self._encode(text, settings)
            except InputError as error:
                yield place, error
                continue
            if ids:
                rows[place] = ids
            else:
                yield place, settings.nothing
        lines = [line for line, _ in inputs]
        again: dict[int, dict[int, list[Hypothesis] | InputError]] = {}  # first answers, by the guard that they need
        stopped = False
        for place, answer, stopped in self._decoded(rows, lines, settings, scores=scores):
            (line, text), guard = inputs[place], 0
            if settings.repetition_guard and not stopped:
                guard = needed_guard(text, rows[place], len(settings.starts[line]), answer, settings.generation)
            if guard:
                again.setdefault(guard, {})[place] = answer
            else:
                yield place, answer
        if stopped:
            yield from (pair for first in again.values() for pair in first.items())
            return
        for guard, first in again.items():
            if stopped:
                yield from first.items()
                continue
            safer = replace(settings, generation=guarded(settings.generation, guard))
            for place, answer, stopped in self._decoded({place: rows[place] for place in first}, lines, safer, scores=scores):
                if stopped or isinstance(answer, InputError):  # a whole answer that loops is more than a part of one that does not
                    yield place, first[place]
                else:
                    yield place, [replace(one, repetition_guard=True) for one in answer]

    def _decoded(
        self, rows: Mapping[int, list[int]], lines: Sequence[int], settings: Settings, *, scores: bool
    ) -> Iterator[tuple[int, list[Hypothesis] | InputError, bool]]:
        """(place, answer, whether the call was stopped) of ids by place; `lines` has the line of each place."""
        width = max(settings.generation.num_beams, settings.generation.num_return_sequences)
        ask = partial(self._decoded_part, rows, lines, settings, scores)
        stopped = False
        for members in _batches(rows, {place: self._apart(ids, settings.starts[lines[place]]) for place, ids in rows.items()}, width):
            if stopped:
                yield from ((place, settings.nothing, True) for place in members)
                continue
            in_lanes = None if settings.should_stop else self._lanes.run(ask, members, width, sum(len(rows[place]) for place in members))
            for part, (found, failure, stopped) in in_lanes or [ask(self._open_model(), members, lambda: False)]:
                for place, sequences in zip(part, found or [None] * len(part), strict=True):
                    if sequences is not None:
                        start = settings.starts[lines[place]]
                        yield place, [self._hypothesis(start, one, settings) for one in sequences], stopped
                    elif failure is not None:
                        yield place, failure, stopped

    def _decoded_part(
        self,
        rows: Mapping[int, list[int]],
        lines: Sequence[int],
        settings: Settings,
        scores: bool,
        model: Any,
        part: Sequence[int],
        abandoned: Callable[[], bool],
    ) -> tuple[Sequence[int], Run]:
        """What `model` makes of the places in `part`, side by side, unless nobody waits for it any more."""
        starts = [settings.starts[lines[place]] for place in part]
        steps = self._search(model, [rows[place] for place in part], starts, settings, scores=scores)
        stop = asking(settings.should_stop, [lines[place] for place in part], starts, self._tokenizer.decode)
        return part, _run(steps, lambda state: abandoned() or stop(state))

    def _lines(self, inputs: object) -> Sequence[str]:
        """What a call is given, as lines."""
        return _lines(inputs)

    def _apart(self, ids: Sequence[int], start: tuple[int, ...]) -> tuple[int, ...]:
        """Inputs for which this differs are not decoded side by side: their decoders start from different numbers of ids."""
        return (len(start),)

    def _hypothesis(self, start: tuple[int, ...], found: Sequence_, settings: Settings) -> Hypothesis:
        tokens = start[1:] + found.tokens
        return Hypothesis(self._tokenizer.decode(tokens), tokens, found.score, (found.log_probs or ()) if settings.token_log_probs else None)

    def _long_text(self, settings: Settings) -> LongText:
        return LongText(
            self.treatment,
            encode=lambda text: self._ids(text, settings),
            limit=self.manifest.limits.get("max_source_length") or self._tokenizer.max_length or LIMIT,
            answer_limit=settings.generation.length_limit(1) - 1,
            language=settings.source_lang or self.manifest.tokenizer.get("source_lang"),
            is_target_language=self._speaks,
            results=settings.generation.num_return_sequences,
        )

    def _stream_pieces(self, pieces: Pieces, settings: Settings) -> Iterator[str]:
        should_stop, stopped = sticky(settings.should_stop)
        settings = replace(settings, should_stop=should_stop)
        shown = ""
        for place, source in enumerate(pieces.sources):
            ((_, answer),) = self._input_answers([(0, source)], settings, scores=False)
            if isinstance(answer, InputError):
                raise answer
            before = pieces.between(place - 1, shown, answer[0].text) if place else pieces.text[: pieces.spans[0][0]]
            shown = answer[0].text
            if before + shown:
                yield before + shown
            if stopped:
                return
        if after := pieces.text[pieces.spans[-1][1] if pieces.spans else 0 :]:
            yield after

    def _stream_whole(self, text: str, options: Mapping[str, Any]) -> Iterator[str]:
        ((best, *_),) = self._all_answers(text, options, scores=False)
        if best.text:
            yield best.text

    def _stream(self, ids: list[int], settings: Settings) -> Iterator[str]:
        if not ids:
            return
        shown = TextStream(self._tokenizer.decode)
        (start,) = settings.starts
        steps = self._search(self._open_model(), [ids], [start], settings, scores=False)
        stop = asking(settings.should_stop, [0], [start], self._tokenizer.decode)
        while True:
            try:
                state = next(steps)
                found = state.so_far() if stop(state) else None
            except StopIteration as end:
                found = end.value
            piece = shown.push([*start[1:], *state.settled()[0]]) if found is None else shown.close(start[1:] + found[0][0].tokens)
            if piece:
                yield piece
            if found is not None:
                return

    def _search(self, model: Any, rows: list[list[int]], starts: Sequence[tuple[int, ...]], settings: Settings, *, scores: bool) -> Search:
        ids, mask = pad(rows, self._tokenizer.pad_token_id)
        start = np.array(starts, np.int64)
        return search(
            model.step,
            model.encode(ids, mask),
            start,
            settings.generation,
            vocab_size=model.vocab_size,
            scores=scores,
            encoder_ids=rows,
            token_log_probs=settings.token_log_probs,
            verifier=model if isinstance(model, EncoderDecoder) else None,
        )

    def _settings(self, options: Mapping[str, Any], inputs: int, *, scores: bool) -> Settings:
        self._open_model()  # a closed pipeline says so before anything else
        return self._options.read(options, inputs, scores=scores)

    def _encode(self, text: str, settings: Settings) -> list[int]:
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
            return _shortened(ids, longest, self._ids("", settings))
        raise InputError(
            f'the text has {len(ids)} tokens, the model takes {longest}: shorten it, or ask for overflow="split" (all of it, in parts) '
            'or overflow="truncate" (its beginning only).'
        )

    def _ids(self, text: str, settings: Settings) -> list[int]:
        return self._tokenizer.encode(text, source_lang=settings.source_lang, target_lang=settings.target_lang)

    def _speaks(self, language: str) -> bool:
        try:
            self._tokenizer.forced_bos_token_id(language)
        except OptionError:
            return False
        return True


def _lines(inputs: object) -> Sequence[str]:
    """One text, or a list of texts, as a sequence. Its items are looked at later, each by itself."""
    if isinstance(inputs, str):
        return [inputs]
    if isinstance(inputs, Sequence) and not isinstance(inputs, bytes | bytearray | memoryview):
        return inputs
    raise InputError(f"expected a text or a list of texts, got {_kind(inputs)}.")


def _shortened(ids: list[int], longest: int, nothing: Sequence[int]) -> list[int]:
    """The beginning of `ids`, and what stands at the end of every text (`nothing`: the ids of an empty one): an end token, a language after it."""
    end = next((i for i, (a, b) in enumerate(zip(reversed(ids), reversed(nothing), strict=False)) if a != b), len(nothing))
    return [*ids[: longest - end], *ids[len(ids) - end :]]


def _kind(value: object) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _batches(rows: Mapping[int, list[int]], apart: Mapping[int, tuple[int, ...]], width: int) -> Iterator[list[int]]:
    """The inputs that decode side by side, those apart from others by themselves."""
    for key in sorted({*apart.values()}):
        order = [i for i in rows if apart[i] == key]
        yield from ([order[j] for j in batch] for batch in batches([len(rows[i]) for i in order], width))


Run = tuple[Sequence[list[Sequence_] | None] | None, InputError | None, bool]


def _run(steps: Search, stop: Callable[[SearchState], bool]) -> Run:
    """What the search gives to each input, and whether it was stopped. Where the model fails on the way, the error, and None for the inputs not
    yet answered, or for all."""
    state: SearchState | None = None
    while True:
        try:
            state = next(steps)
        except StopIteration as end:
            return end.value, None, False
        except InputError as error:
            return state.finished() if state else None, error, False
        if stop(state):
            return state.so_far(), None, True
