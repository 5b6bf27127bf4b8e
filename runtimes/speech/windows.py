"""Windows of features to tokens, several side by side: what every way of hearing a long recording calls."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import log2

import numpy as np
from numpy.typing import NDArray

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding import GenerationOptions, SearchState, Sequence_, run, search
from zen_edge.runtimes.decoding.candidates import every_score, request
from zen_edge.runtimes.decoding.probabilities import log_softmax, softmax
from zen_edge.runtimes.decoding.rule import Scale
from zen_edge.runtimes.decoding.step import Ids, StepScores
from zen_edge.runtimes.encoder_decoder import Cache, EncoderDecoder
from zen_edge.runtimes.speech.alignment import attention, token_times
from zen_edge.runtimes.speech.prompts import Vocabulary
from zen_edge.runtimes.speech.segments import FRAMES


@dataclass(frozen=True)
class Window:
    """features (C,F). start: the decoder's first tokens; None stands for the language that this window turns out to be in. frames: how many of the
    features are sound, for the times of words. alone: whether it is all of its recording. place: of the recording among the inputs. said: the tokens of
    the recording before this window."""

    features: NDArray[np.float32]
    start: tuple[int | None, ...]
    frames: int
    alone: bool = False
    place: int = 0
    said: tuple[int, ...] = ()


@dataclass(frozen=True)
class Heard:
    """tokens: after the start, end token included. log_probs: of each, with what the temperature made of them; avg_logprob: their mean without it.
    language: that was found, None where none was looked for. times: the seconds from the window's beginning at which each token ends, if asked for.
    stopped: the caller wants no more, and these are the tokens so far. others: with num_return_sequences, the results after the best."""

    tokens: tuple[int, ...]
    score: float
    log_probs: tuple[float, ...]
    avg_logprob: float
    no_speech_prob: float
    temperature: float
    language: int | None = None
    times: tuple[float, ...] = ()
    stopped: bool = False
    others: tuple[Heard, ...] = ()

    def compression_ratio(self, vocab_size: int) -> float:
        """How much shorter the tokens become when they are compressed: high for a text that goes round in circles."""
        size = int(log2(vocab_size) / 8) + 1
        data = b"".join(token.to_bytes(size, "little") for token in self.tokens)
        return len(data) / len(zlib.compress(data))


NOTHING = Heard((), 0.0, (), 0.0, 0.0, 0.0, stopped=True)  # of a window that was not begun


@dataclass(frozen=True)
class Stopping:
    """asks: for windows, what to ask after each step of their search. stopped: no longer empty once the answer was yes."""

    asks: Callable[[Sequence[Window]], Callable[[SearchState], bool]] = lambda windows: lambda state: False
    stopped: Sequence[object] = ()


@dataclass(frozen=True)
class Thresholds:
    """When a window is decoded again at the next temperature, and when it holds no speech; None: never (transformers' names and values)."""

    compression_ratio_threshold: float | None = None
    logprob_threshold: float | None = None
    no_speech_threshold: float | None = None

    def is_silence(self, heard: Heard) -> bool:
        if self.no_speech_threshold is None or self.logprob_threshold is None:
            return False
        return heard.avg_logprob < self.logprob_threshold and heard.no_speech_prob > self.no_speech_threshold

    def is_doubtful(self, heard: Heard, vocab_size: int) -> bool:
        repetitive = self.compression_ratio_threshold is not None and heard.compression_ratio(vocab_size) > self.compression_ratio_threshold
        unlikely = self.logprob_threshold is not None and heard.avg_logprob < self.logprob_threshold
        return (repetitive or unlikely) and not self.is_silence(heard)


class WindowDecoder:
    """One call's way of decoding windows. Each window gives what it would give alone."""

    def __init__(
        self,
        model: EncoderDecoder,
        vocabulary: Vocabulary,
        options: Sequence[tuple[float, GenerationOptions]],
        thresholds: Thresholds,
        *,
        alignment: tuple[Sequence[tuple[int, int]], int] | None = None,
        stopping: Stopping = Stopping(),
    ) -> None:
        """options: for each temperature, tried in turn. alignment: the (layer, head) pairs that follow the audio and the width of their filter, for times."""
        self._model, self._vocabulary, self._options, self._thresholds, self._alignment = model, vocabulary, options, thresholds, alignment
        self._stopping = stopping

    def _languages(self, cache: Cache) -> list[int]:
        """The token of the likeliest language of each."""
        start = np.full((cache.rows, 1), self._vocabulary.start, np.int64)
        scores, _ = self._model.step(start, cache, top_k=1, log_sum_exp=False)
        ids = sorted(self._vocabulary.languages.values())
        return [ids[best] for best in scores.logits()[:, ids].argmax(axis=1).tolist()]

    def __call__(self, windows: Sequence[Window]) -> list[Heard]:
        """What is heard in each, which are of one length."""
        if self._stopping.stopped:
            return [NOTHING] * len(windows)
        cache = self._model.encode_features(np.stack([window.features for window in windows]))
        languages: Sequence[int | None] = [None] * len(windows)
        if any(None in window.start for window in windows):
            languages = [language if None in window.start else None for language, window in zip(self._languages(cache), windows, strict=True)]
            windows = [_filled(window, language) for window, language in zip(windows, languages, strict=True)]
        found: dict[int, Heard] = {}
        for places in _by_length(windows):
            left = places
            for temperature, options in self._options:
                if self._stopping.stopped:
                    break
                of_left = cache if len(left) == len(windows) else self._model.select(cache, np.array(left, np.int64))
                heard = self._decode([windows[place] for place in left], of_left, temperature, options)
                found |= dict(zip(left, heard, strict=True))
                left = [place for place in left if self._thresholds.is_doubtful(found[place], self._vocabulary.size)]
                if not left:
                    break
        return [replace(found.get(place, NOTHING), language=language) for place, language in enumerate(languages)]

    def _decode(self, windows: Sequence[Window], cache: Cache, temperature: float, options: GenerationOptions) -> list[Heard]:
        start = np.array([window.start for window in windows], np.int64)
        options = self._within(options, start.shape[1])
        first = _FirstStep(self._model, start.shape[1] - 1 - windows[0].start[::-1].index(self._vocabulary.start))
        sums = [[zlib.crc32(window.features.tobytes())] for window in windows] if options.do_sample else None  # what a seed goes with
        steps = search(first, cache, start, options, vocab_size=self._vocabulary.size, scores=True, token_log_probs=True, encoder_ids=sums)
        found = run(steps, self._stopping.asks(windows))
        silent = [0.0] * len(windows) if self._vocabulary.no_speech is None else first.probabilities[:, self._vocabulary.no_speech].tolist()
        stopped, again = bool(self._stopping.stopped), options.do_sample or self._alignment is not None

        def heard(row: int, one: Sequence_) -> Heard:
            log_probs = one.log_probs or ()
            this = Heard(one.tokens, one.score, log_probs, sum(log_probs) / len(log_probs), silent[row], temperature, stopped=stopped)
            if not again:
                return this
            of_row = cache if len(windows) == 1 else self._model.select(cache, np.array([row], np.int64))
            return self._looked_at_again(windows[row], this, of_row, options)

        results = [[heard(row, one) for one in several] for row, several in enumerate(found)]
        return [replace(best, others=tuple(others)) for best, *others in results]

    def _within(self, options: GenerationOptions, start_length: int) -> GenerationOptions:
        """The options with a length that the decoder has positions for: max_length grows by the prompt's, as in transformers."""
        positions = self._model.max_target_length
        if positions is None:
            return options
        if start_length + (options.max_new_tokens or 1) > positions:
            raise OptionError(
                f"the prompt has {start_length} tokens and max_new_tokens is {options.max_new_tokens}, and the model has {positions} positions: shorten one."
            )
        if options.max_new_tokens is not None:
            return options
        longest = options.length_limit(start_length) if options.max_length is None else options.max_length + min(positions // 2 - 1, start_length)
        return replace(options, max_length=min(longest, positions))

    def _looked_at_again(self, window: Window, heard: Heard, cache: Cache, options: GenerationOptions) -> Heard:
        """All tokens in one step: the times at which they were said, and after sampling their probabilities as they were before the temperature."""
        ids = np.array([(*window.start, *heard.tokens[:-1])], np.int64)
        logits, queries = self._model.follow(ids, cache)
        if options.do_sample:
            log_probs = _log_probs(logits[0, len(window.start) - 1 :], heard.tokens, ids, options, self._vocabulary.size)
            heard = replace(heard, avg_logprob=sum(log_probs) / len(log_probs))
        if self._alignment is None:
            return heard
        heads, width = self._alignment
        frames = window.frames // FRAMES
        keys = {layer: cache.cross[f"cross_key_{layer}"].numpy()[0].astype(np.float32, copy=False) for layer, _ in heads}
        if not frames:  # nothing but padding
            return replace(heard, times=(0.0,) * len(heard.tokens))
        weights = [attention(queries[layer][0], keys[layer], head)[len(window.start) :, :frames] for layer, head in heads]
        times = token_times(weights, width)
        return replace(heard, times=(*times, times[-1] if times else 0.0))


class _FirstStep:
    """The model's step, and what its first one says at one place of the start: at the token that a transcript begins with."""

    def __init__(self, model: EncoderDecoder, place: int) -> None:
        self._model, self._place = model, place
        self.probabilities: NDArray[np.float32] = np.zeros((0, 0), np.float32)  # (B,V)

    def __call__(
        self, ids: Ids, cache: Cache, *, top_k: int, log_sum_exp: bool, beam_index: Ids | None, input_index: Ids | None
    ) -> tuple[StepScores, Cache]:
        if cache.length:
            return self._model.step(ids, cache, top_k=top_k, log_sum_exp=log_sum_exp, beam_index=beam_index, input_index=input_index)
        scores, cache = self._model.step_each(ids, cache, top_k=top_k, log_sum_exp=log_sum_exp)
        self.probabilities = softmax(scores[self._place].logits())
        return scores[-1], cache


def _filled(window: Window, language: int | None) -> Window:
    return replace(window, start=tuple(language if token is None else token for token in window.start))


def _by_length(windows: Sequence[Window]) -> list[list[int]]:
    """Places of windows whose decoders start from equally many tokens."""
    lengths = sorted({len(window.start) for window in windows})
    return [[place for place, window in enumerate(windows) if len(window.start) == length] for length in lengths]


def _log_probs(logits: NDArray[np.float32], tokens: Sequence[int], ids: Ids, options: GenerationOptions, vocab_size: int) -> tuple[float, ...]:
    """Of tokens (n), sampled from logits (n,V): under all rules, the temperature taken out again."""
    start_length = ids.shape[1] - len(tokens) + 1
    rules = options.active_rules(start_length, vocab_size)
    found = []
    for place, token in enumerate(tokens):
        asked = request(rules, ids[:, : start_length + place], 1, vocab_size, sampled=True)
        scores = every_score(asked, logits[place : place + 1], log_probs=False)
        for effect in asked.effects:
            scores = scores * np.float32(effect.temperature) if isinstance(effect, Scale) else scores
        found.append(float(log_softmax(scores)[0, token]))
    return tuple(found)
