"""Text in, text out, through an encoder-decoder bundle: what translation and summarization share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, overload

import numpy as np

from zen_edge.errors import InputError, OptionError, ZenEdgeError
from zen_edge.manifest import Manifest
from zen_edge.runtimes.batching import batches, pad
from zen_edge.runtimes.decoding import GenerationOptions, Search, run, search
from zen_edge.runtimes.encoder_decoder import EncoderDecoder
from zen_edge.runtimes.tokenization import load_tokenizer
from zen_edge.runtimes.tokenization.streaming import TextStream

OVERFLOWS = ("error", "truncate")


@dataclass(frozen=True)
class Hypothesis:
    """One result. tokens: the ids after the decoder's start, end token included. score: transformers' `sequences_scores`; for greedy search
    the mean log-probability of the tokens."""

    text: str
    tokens: tuple[int, ...]
    score: float


class TextToText:
    """A loaded bundle. Safe to share between threads; freed when it is let go of, or at the end of `with`.

    Options are transformers' own (`num_beams`, `max_new_tokens`, ...); what is not given comes from the bundle's generation config. Unknown ones
    raise OptionError. `source_lang` and `target_lang` choose languages where the model knows several. A line longer than the model can take
    raises InputError, unless `overflow="truncate"` asks for its beginning only. A blank line gives an empty text.
    """

    def __init__(self, folder: Path, manifest: Manifest, *, device: str = "cpu", threads: int | None = None) -> None:
        self.manifest = manifest
        self._tokenizer = load_tokenizer(folder, manifest.tokenizer)
        self._model: EncoderDecoder | None = EncoderDecoder(folder, manifest, device, threads)

    @overload
    def __call__(self, inputs: str, **options: Any) -> str: ...
    @overload
    def __call__(self, inputs: Sequence[str], **options: Any) -> list[str]: ...
    def __call__(self, inputs: str | Sequence[str], **options: Any) -> str | list[str]:
        """The best text for one line, or for each of several in their order."""
        lines = [inputs] if isinstance(inputs, str) else inputs
        texts = [found[0].text for found in self._generate(lines, scores=False, errors="raise", **options) if isinstance(found, list)]
        return texts[0] if isinstance(inputs, str) else texts

    def generate(self, inputs: str | Sequence[str], **options: Any) -> list[list[Hypothesis]]:
        """`num_return_sequences` results for each line, best first."""
        lines = [inputs] if isinstance(inputs, str) else inputs
        return [found for found in self._generate(lines, scores=True, errors="raise", **options) if isinstance(found, list)]

    def generate_each(self, inputs: Sequence[str], **options: Any) -> list[list[Hypothesis] | ZenEdgeError]:
        """Like `generate`, but a line that cannot be answered gives its error in place of results, and the others are answered."""
        return self._generate(inputs, scores=True, errors="return", **options)

    def stream(self, text: str, **options: Any) -> Iterator[str]:
        """Pieces of the best text as soon as they cannot change any more; joined, they are what calling the pipeline gives."""
        chosen, ids = self._prepare(text, **options)
        return self._stream(chosen, ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of generated ids, special tokens left out."""
        return self._tokenizer.decode(tokens)

    def close(self) -> None:
        self._model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _stream(self, options: GenerationOptions, ids: list[int]) -> Iterator[str]:
        if not ids:
            return
        shown = TextStream(self._tokenizer.decode)
        steps = self._search([ids], options, scores=False)
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

    def _generate(
        self, inputs: Sequence[str], *, scores: bool, errors: Literal["raise", "return"], **options: Any
    ) -> list[list[Hypothesis] | ZenEdgeError]:
        encode, chosen = self._settings(**options)
        results: list[list[Hypothesis] | ZenEdgeError] = [[Hypothesis("", (), 0.0)] * chosen.num_return_sequences for _ in inputs]
        rows: dict[int, list[int]] = {}
        for i, text in enumerate(inputs):
            try:
                ids = encode(text)
            except InputError as error:
                if errors == "raise":
                    raise InputError(f"input {i + 1} of {len(inputs)}: {error}" if len(inputs) > 1 else str(error)) from None
                results[i] = error
            else:
                if ids:
                    rows[i] = ids
        order = list(rows)
        for batch in batches([len(rows[i]) for i in order], chosen.num_beams):
            members = [order[j] for j in batch]
            try:
                found = run(self._search([rows[i] for i in members], chosen, scores=scores))
            except InputError as error:
                if errors == "raise":
                    raise
                results_of: list[list[Hypothesis] | ZenEdgeError] = [error] * len(members)
            else:
                results_of = [[Hypothesis(self._tokenizer.decode(s.tokens), s.tokens, s.score) for s in sequences] for sequences in found]
            for i, result in zip(members, results_of, strict=True):
                results[i] = result
        return results

    def _search(self, rows: list[list[int]], options: GenerationOptions, *, scores: bool) -> Search:
        if self._model is None:
            raise ZenEdgeError("this pipeline is closed; load the bundle again.")
        model = self._model
        ids, mask = pad(rows, self._tokenizer.pad_token_id)
        start = np.full((len(rows), 1), options.start_token_id, np.int64)
        return search(model.step, model.encode(ids, mask), start, options, vocab_size=model.vocab_size, scores=scores)

    def _prepare(self, text: str, **options: Any) -> tuple[GenerationOptions, list[int]]:
        encode, chosen = self._settings(**options)
        return chosen, encode(text)

    def _settings(
        self, *, source_lang: str | None = None, target_lang: str | None = None, overflow: str = "error", **options: Any
    ) -> tuple[Any, GenerationOptions]:
        """How a line becomes ids, and the generation options. Raises OptionError before anything runs."""
        if overflow not in OVERFLOWS:
            raise OptionError(f"overflow={overflow!r} is not known; there are: {', '.join(OVERFLOWS)}.")
        chosen = GenerationOptions.from_defaults(self.manifest.generation, **options)
        longest = self.manifest.limits.get("max_source_length")
        self._tokenizer.encode("", source_lang=source_lang, target_lang=target_lang)  # a language it does not have is told before any line

        def encode(text: str) -> list[int]:
            if not isinstance(text, str):
                raise InputError(f"expected text, got {type(text).__name__}.")
            if not text.strip():
                return []
            ids = self._tokenizer.encode(text, source_lang=source_lang, target_lang=target_lang)
            if longest is None or len(ids) <= longest:
                return ids
            if overflow == "truncate":
                return [*ids[: longest - 1], ids[-1]]  # the end token stays
            raise InputError(
                f'the text has {len(ids)} tokens, the model takes {longest}: shorten it, or ask for overflow="truncate" (its beginning only).'
            )

        return encode, chosen
