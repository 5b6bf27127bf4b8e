"""Audio in, text out, through an encoder-decoder bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from zen_edge.attention_map import AttentionMap
from zen_edge.errors import BundleError, InputError, OptionError
from zen_edge.manifest import Manifest
from zen_edge.runtimes.attention import Attending, attend_sound
from zen_edge.runtimes.audio.log_mel import LogMel
from zen_edge.runtimes.decoding import SearchState
from zen_edge.runtimes.encoder_decoder import EncoderDecoder
from zen_edge.runtimes.pipelines.progress import ShouldStop, asking, check_should_stop, sticky
from zen_edge.runtimes.pipelines.recognizer import FEATURES, Answers, Audio, Recognizer, at_once, read_config
from zen_edge.runtimes.providers import Device
from zen_edge.runtimes.recorded import open_encoder_decoder
from zen_edge.runtimes.speech.batched import hear_parts, parts
from zen_edge.runtimes.speech.prompts import Vocabulary
from zen_edge.runtimes.speech.recordings import is_longer, open_recording
from zen_edge.runtimes.speech.sequential import Piece, Plan, Recorded, hear_all, recording
from zen_edge.runtimes.speech.settings import Settings, SettingsReader
from zen_edge.runtimes.speech.short_windows import NOTHING_SAID, ShortWindows
from zen_edge.runtimes.speech.transcript import Segment, Transcript, Word
from zen_edge.runtimes.speech.windows import Heard, Stopping, Thresholds, Window, WindowDecoder
from zen_edge.runtimes.speech.words import group
from zen_edge.runtimes.tokenization import load_tokenizer
from zen_edge.runtimes.tokenization.whisper import WhisperTokenizer

TOGETHER = 16  # recordings side by side, unless their keys and values would take more memory than
MOST_BYTES = 384 * 2**20


class Pipeline(Recognizer[EncoderDecoder]):
    """A recognizer with an encoder and a decoder.

    Options are transformers' own (`language`, `task`, `return_timestamps`, `num_beams`, `temperature`, `prompt_ids`, ...); `prompt` is `prompt_ids` in words, `segments=True` is `return_timestamps=True`,
    and `words=True` also gives the times of words. Unknown options raise OptionError. What is longer than a window is heard window after window, or with
    `batched=True` cut at its silences and heard side by side. What is shorter is heard in a shorter window, and again in a whole one where the result looks
    doubtful; `window="full"` hears whole windows only, as transformers does.
    """

    _extractor: LogMel

    def __init__(self, folder: Path, manifest: Manifest, *, device: Device = "cpu", threads: int | None = None) -> None:
        self.manifest = manifest
        tokenizer = load_tokenizer(folder, manifest.tokenizer)
        if not isinstance(tokenizer, WhisperTokenizer):
            raise BundleError(
                f"a recognizer with a decoder has a tokenizer of kind 'whisper', not {manifest.tokenizer.get('kind')!r}: export it again."
            )
        self._tokenizer = tokenizer
        self._extractor = _extractor(folder)
        self._model = open_encoder_decoder(folder, manifest, device, threads)
        self._attending = Attending(folder, manifest, device, threads)
        self._vocabulary = Vocabulary.of(manifest.generation, self._model.vocab_size)
        self._options = SettingsReader(manifest.generation, self._vocabulary, tokenizer)
        try:
            self._window = manifest.limits["max_source_length"]
            self._at_once = self._window * self._extractor.hop / self._extractor.sampling_rate
            self._heads = [(int(layer), int(head)) for layer, head in manifest.generation.get("alignment_heads") or ()]
            self._filter = int(manifest.generation.get("median_filter_width", 7))
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"the manifest does not say what a recognizer needs ({error}): export the model again.") from error

    def for_text(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The task is to transcribe where neither the options nor the checkpoint name one; `generate` follows transformers, which leaves it open, and some
        checkpoints then write no transcript."""
        generation = self.manifest.generation
        if not generation.get("task_to_id") or generation.get("forced_decoder_ids") or self._vocabulary.multilingual is False:
            return dict(options)
        return {"task": generation.get("task") or "transcribe", **options}

    def _following(self, options: dict[str, Any], found: Transcript) -> dict[str, Any]:
        """The language of the first words is that of the stream."""
        detects = self._vocabulary.languages and not self.manifest.generation.get("forced_decoder_ids") and options.get("language") is None
        return {**options, "language": found.language} if detects and found.text.strip() else options

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of generated ids, special tokens and times left out."""
        return self._tokenizer.decode(tokens)

    def _attended(self, source: Audio, options: Mapping[str, Any]) -> AttentionMap:
        model, settings = self._open_model(), self._options.read(options, 1)
        attending, plan = self._attending.encoder_decoder(), self._plan(settings)
        features, sound, is_long = open_recording(source, settings.sampling_rate, self._extractor, self._window)
        if is_long:
            raise at_once(self._at_once)
        timed, tries = bool(settings.timestamps), list[Window]()

        def noted(hear: WindowDecoder) -> Callable[[Sequence[Window]], list[Heard]]:
            def hearing(windows: Sequence[Window]) -> list[Heard]:
                tries.extend(windows)
                return hear(windows)

            return hearing

        chosen = settings.timed_options if timed else settings.options
        hear = noted(WindowDecoder(model, self._vocabulary, chosen, settings.thresholds))
        once = noted(WindowDecoder(model, self._vocabulary, chosen[:1], Thresholds()))
        prompts = settings.timed_prompts if timed else settings.prompts
        first = next(recording(features, sound, prompts[0], plan))
        (heard,) = (ShortWindows(hear, once, self._window, self._vocabulary) if settings.short else hear)([first])
        if not heard.tokens or not tries:
            raise InputError("nothing is said in this recording, and so nothing attends to it.")
        window = tries[-1]
        start = [heard.language if token is None else token for token in window.start]
        seconds = window.features.shape[1] * self._extractor.hop / self._extractor.sampling_rate
        said = [token for token in (*start, *heard.tokens) if token is not None]
        return attend_sound(attending, self._tokenizer, window.features, said, self.decode(heard.tokens), seconds)

    def _answers(self, inputs: Sequence[Audio], options: Mapping[str, Any]) -> Answers:
        model = self._open_model()
        check_should_stop(options.get("should_stop"))
        settings, stopping = self._options.read(options, len(inputs)), self._stopping(options.get("should_stop"))
        plan, in_parts, failed = self._plan(settings), list[int](), dict[int, InputError]()
        nothing = Transcript("", (), 0.0, () if settings.token_log_probs else None)
        left = set(range(len(inputs)))
        for timed, recordings in self._opened(inputs, settings, plan, in_parts, failed, stopping):
            alignment = (self._heads, self._filter) if settings.words else None
            chosen = settings.timed_options if timed else settings.options
            hear = WindowDecoder(model, self._vocabulary, chosen, settings.thresholds, alignment=alignment, stopping=stopping)
            once = WindowDecoder(model, self._vocabulary, chosen[:1], Thresholds(), alignment=alignment, stopping=stopping)
            short = ShortWindows(hear, once, self._window, self._vocabulary) if settings.short else hear
            for place, recorded in hear_all(recordings, short, self._together()):
                found = [self._transcript(one, timed, settings) for one in (recorded, *recorded.others)]
                yield from ((place, one) for one in (*found, *[nothing] * (settings.results - len(found))))
                left.discard(place)
            for place in takewhile(lambda _: not stopping.stopped, in_parts):
                yield place, self._in_parts(inputs[place], hear, plan, place, settings, stopping)
                left.discard(place)
            in_parts.clear()
            yield from failed.items()
            left -= failed.keys()
            failed.clear()
        yield from ((place, nothing) for place in sorted(left) for _ in range(settings.results))  # the call was stopped before they began

    def _stopping(self, should_stop: ShouldStop | None) -> Stopping:
        ask, stopped = sticky(should_stop)

        def asks(windows: Sequence[Window]) -> Callable[[SearchState], bool]:
            return asking(ask, [window.place for window in windows], [(self._vocabulary.start, *window.said) for window in windows], self.decode)

        return Stopping(asks, stopped)

    def _in_parts(
        self, source: Audio, hear: WindowDecoder, plan: Plan, place: int, settings: Settings, stopping: Stopping
    ) -> Transcript | InputError:
        timed = bool(settings.timestamps)
        prompts = settings.timed_prompts if timed else settings.prompts
        try:
            cut = parts(source, settings.sampling_rate, self._extractor.sampling_rate, self._at_once)
            cut = takewhile(lambda _: not stopping.stopped, cut)
            return self._transcript(hear_parts(cut, hear, self._extractor, prompts[place], plan, self._together(), place), timed, settings)
        except InputError as error:
            return error

    def _plan(self, settings: Settings) -> Plan:
        return Plan(
            self._vocabulary,
            settings.thresholds,
            self._window,
            self._model.max_target_length or self.manifest.limits["max_target_length"] if self._model else 0,
            settings.context,
            settings.said_before,
            settings.said_always,
            NOTHING_SAID if settings.short and settings.thresholds.no_speech_threshold is None else None,
        )

    def _opened(
        self, inputs: Sequence[Audio], settings: Settings, plan: Plan, in_parts: list[int], failed: dict[int, InputError], stopping: Stopping
    ) -> Iterator[tuple[bool, Any]]:
        """Whether times are told, and the recordings of which that holds, each opened when it is its turn; those to be heard in parts are noted."""
        long: list[int] = []

        def recordings(places: Sequence[int], timed: bool) -> Iterator[tuple[int, Any]]:
            for place in takewhile(lambda _: not stopping.stopped, places):
                try:
                    if settings.batched and is_longer(inputs[place], settings.sampling_rate, self._extractor, self._window):
                        self._refuse_several(settings)
                        in_parts.append(place)
                        continue
                    features, sound, is_long = open_recording(inputs[place], settings.sampling_rate, self._extractor, self._window)
                    if is_long:
                        self._refuse_several(settings)
                    if is_long and not timed:
                        if settings.timestamps is False:
                            raise InputError(
                                f"the audio lasts {sound * self._extractor.hop / self._extractor.sampling_rate:.0f} s, and only one of up to "
                                f"{self._at_once:.0f} s is heard with return_timestamps=False: leave it out."
                            )
                        long.append(place)
                        continue
                except InputError as error:
                    failed[place] = error
                    continue
                prompts = settings.timed_prompts if timed else settings.prompts
                yield place, recording(features, sound, prompts[place], plan, place)

        yield bool(settings.timestamps), recordings(range(len(inputs)), bool(settings.timestamps))
        if long:
            if not settings.timed_options:
                raise OptionError("this model writes no times, without which nothing longer than a window is heard: cut the audio.")
            yield True, recordings(long, True)

    def _refuse_several(self, settings: Settings) -> None:
        if settings.results > 1:
            raise InputError(
                f"num_return_sequences={settings.results} is for audio of up to {self._at_once:.0f} s, which is heard at once, and this is longer: "
                "cut it, or leave num_return_sequences out."
            )

    def _together(self) -> int:
        shapes = [tensor.shape for tensor in self.manifest.graph("decoder").inputs if tensor.name.startswith("cross_")]
        each = sum(int(shape[1]) * int(shape[3]) for shape in shapes) * self._window // 2 * 4
        return max(1, min(TOGETHER, MOST_BYTES // max(each, 1)))

    def _transcript(self, recorded: Recorded, timed: bool, settings: Settings) -> Transcript:
        language = self._vocabulary.language_of(recorded.start)
        last = recorded.windows[-1].tokens[-1:] if recorded.windows else ()
        end = last if last == (self._vocabulary.end,) else ()
        tokens = tuple(token for piece in recorded.pieces for token in piece.tokens) + end
        count = sum(len(heard.tokens) for heard in recorded.windows)
        score = sum(heard.score * len(heard.tokens) for heard in recorded.windows) / max(1, count)
        log_probs = tuple(each for piece in recorded.pieces for each in piece.heard.log_probs[piece.first : piece.first + len(piece.tokens)])
        log_probs += recorded.windows[-1].log_probs[-1:] if end else ()
        segments = tuple(self._segment(piece, language, settings.words) for piece in recorded.pieces) if timed or settings.words else ()
        return Transcript(self.decode(tokens), tokens, score, log_probs if settings.token_log_probs else None, language, segments)

    def _segment(self, piece: Piece, language: str | None, with_words: bool) -> Segment:
        heard = piece.heard
        words = self._words(piece, language) if with_words else ()
        return Segment(
            round(piece.start, 2),
            round(piece.end, 2),
            self.decode(piece.tokens),
            piece.tokens,
            heard.avg_logprob,
            heard.no_speech_prob,
            heard.temperature,
            words,
        )

    def _words(self, piece: Piece, language: str | None) -> tuple[Word, ...]:
        """Of the tokens that are text. A word begins where the token before it ends."""
        places = [place for place, token in enumerate(piece.tokens) if token < self._vocabulary.end]
        times, log_probs = piece.heard.times, piece.heard.log_probs
        found = []
        for text, members in group([piece.tokens[place] for place in places], self._tokenizer.decode, language):
            first, last = (piece.first + places[member] for member in (members[0], members[-1]))
            start = times[first - 1] if first else 0.0
            probability = float(np.mean([np.exp(log_probs[piece.first + places[member]]) for member in members]))
            found.append(Word(text, round(piece.offset + start, 2), round(piece.offset + times[last], 2), probability))
        return tuple(found)


def _extractor(folder: Path) -> LogMel:
    try:
        return LogMel.from_config(read_config(folder))
    except (AttributeError, TypeError, ValueError) as error:
        raise BundleError(f"{FEATURES} does not say how the model wants its audio ({error}): export the model again.") from error
