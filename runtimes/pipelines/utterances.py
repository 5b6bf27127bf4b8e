"""Audio in, text out, through an encoder-decoder bundle that hears utterances: no windows, no times of words."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zen_edge.attention_map import AttentionMap
from zen_edge.errors import AudioError, InputError
from zen_edge.manifest import Manifest
from zen_edge.runtimes.attention import Attending, attend_sound
from zen_edge.runtimes.audio import load_extractor, read_audio, read_blocks
from zen_edge.runtimes.batching import batches
from zen_edge.runtimes.decoding import Sequence_, run, search
from zen_edge.runtimes.encoder_decoder import EncoderDecoder
from zen_edge.runtimes.pipelines.recognizer import Answers, Audio, Recognizer, at_once, read_config
from zen_edge.runtimes.pipelines.utterance_settings import Settings, SettingsReader
from zen_edge.runtimes.providers import Device
from zen_edge.runtimes.recorded import open_encoder_decoder
from zen_edge.runtimes.speech.batched import Part, parts
from zen_edge.runtimes.speech.transcript import Segment, Transcript
from zen_edge.runtimes.tokenization import load_tokenizer

BATCH = 60  # seconds of sound side by side, padding included
TOGETHER = 64  # recordings, or pieces of one, that are opened before they are sorted by length


class Pipeline(Recognizer[EncoderDecoder]):
    """A recognizer of utterances (Moonshine, Speech2Text).

    Options of the search are transformers' own (`num_beams`, `max_new_tokens`, ...). A recording longer than `chunk_length_s` (30; 0: never) is cut where
    nobody speaks, and the pieces are heard side by side; `segments=True` tells their times. `language` is what to write in, where the model is told one.
    """

    def __init__(self, folder: Path, manifest: Manifest, *, device: Device = "cpu", threads: int | None = None) -> None:
        self.manifest = manifest
        self._tokenizer = load_tokenizer(folder, manifest.tokenizer)
        self._extractor = load_extractor(read_config(folder))
        self._fewest_frames = manifest.limits.get("min_source_length", 1)
        self._most_frames = manifest.limits.get("max_source_length")
        self._model = open_encoder_decoder(folder, manifest, device, threads)
        self._options = SettingsReader(manifest)
        self._attending = Attending(folder, manifest, device, threads)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of generated ids, special tokens left out."""
        return self._tokenizer.decode(tokens)

    def _attended(self, source: Audio, options: Mapping[str, Any]) -> AttentionMap:
        model, settings = self._open_model(), self._options.read(options)
        attending = self._attending.encoder_decoder()
        found, is_long = self._opened(source, settings)
        if is_long and settings.longest is not None:
            raise at_once(settings.longest)
        (utterance,) = map(self._utterance, found)
        (heard,) = self._heard(model, [utterance], settings)
        said = (settings.generation.start_token_id, *heard.tokens)
        seconds = utterance.samples / self._extractor.sampling_rate
        return attend_sound(attending, self._tokenizer, utterance.features, said, self.decode(heard.tokens), seconds)

    def _answers(self, inputs: Sequence[Audio], options: Mapping[str, Any]) -> Answers:
        model = self._open_model()
        settings = self._options.read(options)
        for start in range(0, len(inputs), TOGETHER):
            whole: dict[int, _Utterance] = {}
            for place in range(start, min(start + TOGETHER, len(inputs))):
                try:
                    found, is_long = self._opened(inputs[place], settings)
                    if is_long:
                        yield place, self._in_pieces(model, found, settings)
                    else:
                        (whole[place],) = map(self._utterance, found)
                except InputError as error:
                    yield place, error
            heard = self._heard(model, list(whole.values()), settings)
            for (place, utterance), sequence in zip(whole.items(), heard, strict=True):
                yield place, self._transcript([self._piece(utterance, sequence)], settings, told=settings.segments)

    def _opened(self, source: Audio, settings: Settings) -> tuple[Iterable[Part], bool]:
        """The pieces of a recording, and whether it is longer than one. Raises AudioError."""
        rate = self._extractor.sampling_rate
        if settings.longest is None:
            return [Part(0.0, read_audio(source, settings.sampling_rate, rate))], False
        blocks = read_blocks(source, settings.sampling_rate, rate, round(settings.longest * rate))
        first = next(blocks)
        if next(blocks, None) is None:
            return [Part(0.0, first)], False
        return parts(source, settings.sampling_rate, rate, settings.longest), True

    def _in_pieces(self, model: EncoderDecoder, found: Iterable[Part], settings: Settings) -> Transcript:
        pieces: list[_Piece] = []
        left = map(self._utterance, found)
        while some := list(islice(left, TOGETHER)):
            heard = self._heard(model, some, settings)
            pieces += map(self._piece, some, heard)
        return self._transcript(pieces, settings, told=True)

    def _heard(self, model: EncoderDecoder, found: Sequence[_Utterance], settings: Settings) -> Iterator[Sequence_]:
        """Of each, in order; those of like length side by side."""
        answers: dict[int, Sequence_] = {}
        options = settings.generation
        for places in batches([utterance.samples for utterance in found], options.num_beams, BATCH * self._extractor.sampling_rate):
            rows = [found[place].features for place in places]
            start = np.full((len(rows), 1), options.start_token_id, np.int64)
            sums = [[zlib.crc32(row.tobytes())] for row in rows] if options.do_sample else None  # what a seed goes with
            steps = search(
                model.step, model.encode_utterances(rows), start, options, vocab_size=model.vocab_size, token_log_probs=True, encoder_ids=sums
            )
            answers |= {place: best for place, (best, *_) in zip(places, run(steps), strict=True)}
        return map(answers.__getitem__, range(len(found)))

    def _utterance(self, part: Part) -> _Utterance:
        """Raises AudioError for what is too short or too long."""
        features = self._extractor.features(part.audio)
        seconds = len(part.audio) / self._extractor.sampling_rate
        if len(features) < self._fewest_frames:
            raise AudioError(f"the audio is too short for the model: it lasts {1000 * seconds:.1f} ms.")
        if self._most_frames is not None and len(features) > self._most_frames:
            raise AudioError(
                f"the audio lasts {seconds:.0f} s, and the model takes {seconds * self._most_frames / len(features):.0f} s at once: give chunk_length_s."
            )
        return _Utterance(part.start, len(part.audio), features)

    def _piece(self, utterance: _Utterance, heard: Sequence_) -> _Piece:
        log_probs = heard.log_probs or ()
        end = utterance.start + utterance.samples / self._extractor.sampling_rate
        told = Segment(
            round(utterance.start, 2), round(end, 2), self.decode(heard.tokens), heard.tokens, sum(log_probs) / max(1, len(log_probs)), float("nan")
        )
        return _Piece(told, heard.score, log_probs)

    @staticmethod
    def _transcript(pieces: Sequence[_Piece], settings: Settings, *, told: bool) -> Transcript:
        segments = tuple(piece.told for piece in pieces)
        tokens = tuple(token for segment in segments for token in segment.tokens)
        log_probs = tuple(each for piece in pieces for each in piece.log_probs)
        score = sum(piece.score * len(piece.told.tokens) for piece in pieces) / max(1, len(tokens))
        text = " ".join(text for segment in segments if (text := segment.text.strip()))
        return Transcript(text, tokens, score, log_probs if settings.token_log_probs else None, settings.language, segments if told else ())


class _Utterance(NamedTuple):
    """What the model hears for so many samples of a recording, from `start` on, in seconds. features: (F,) or (F,n)."""

    start: float
    samples: int
    features: NDArray[np.float32]


class _Piece(NamedTuple):
    """What was heard in one piece of a recording. score, log_probs: of its tokens."""

    told: Segment
    score: float
    log_probs: tuple[float, ...]
