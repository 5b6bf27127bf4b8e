"""Audio in, text out, through a bundle with one output for every frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np

from zen_edge.attention_map import AttentionMap
from zen_edge.errors import AudioError, BundleError, InputError
from zen_edge.manifest import Manifest
from zen_edge.runtimes.attention import Attending, times
from zen_edge.runtimes.audio import Sound, load_extractor, read_blocks
from zen_edge.runtimes.ctc.chunks import Chunk
from zen_edge.runtimes.ctc.greedy import Path as FramePath
from zen_edge.runtimes.ctc.greedy import joined, transcript
from zen_edge.runtimes.ctc.model import FrameModel
from zen_edge.runtimes.ctc.settings import Settings, read_settings
from zen_edge.runtimes.ctc.spans import FrameTokenizer
from zen_edge.runtimes.pipelines.progress import Progress, ShouldStop, check_should_stop
from zen_edge.runtimes.pipelines.recognizer import Answers, Audio, Recognizer, at_once, read_config
from zen_edge.runtimes.providers import Device
from zen_edge.runtimes.speech.transcript import Transcript
from zen_edge.runtimes.tokenization import load_tokenizer

BLOCK = 30  # seconds read at a time
BATCH = 30  # seconds of sound side by side, padding included
TOGETHER = 64  # recordings opened before they are sorted by length
TEXT_ONLY = Settings(None, False, False, False, None)

Stop = Callable[[Sequence[int], Sequence[Sequence[FramePath]]], bool]


class Pipeline(Recognizer[FrameModel]):
    """A recognizer with one output for every frame.

    Sound longer than `chunk_length_s` (30; 0: never) is heard in
    chunks that overlap by `stride_length_s` at either end, as in transformers' pipeline. `segments=True` and `words=True` tell times.
    """

    def __init__(self, folder: Path, manifest: Manifest, *, device: Device = "cpu", threads: int | None = None) -> None:
        self.manifest = manifest
        tokenizer = load_tokenizer(folder, manifest.tokenizer)
        if not hasattr(tokenizer, "told"):
            raise BundleError(
                f"a recognizer of frames has a tokenizer of frames, not one of kind {manifest.tokenizer.get('kind')!r}: export it again."
            )
        self._tokenizer = cast(FrameTokenizer, tokenizer)
        self._extractor = load_extractor(read_config(folder))
        try:
            self._step, self._shortest = (manifest.limits[name] for name in ("samples_per_frame", "min_samples"))
        except KeyError as error:
            raise BundleError(f"the manifest does not say what a recognizer needs ({error}): export the model again.") from error
        self._model = FrameModel(folder, manifest, device, threads)
        self._attending = Attending(folder, manifest, device, threads)

    def _attended(self, source: Audio, options: Mapping[str, Any]) -> AttentionMap:
        model, rate = self._open_model(), self._extractor.sampling_rate
        settings = read_settings(options, rate, self._step)
        first = next(self._chunks(source, settings))
        if not first.last:
            raise at_once(len(first.audio) / rate)
        features = self._extractor.features(self._long_enough(first.audio))
        weights = {kind: value[0] for kind, value in self._attending.one_graph().weights(model.feeds([features])).items()}
        told = self._told([FramePath.of(logits) for logits in model.logits([features])], TEXT_ONLY)
        return AttentionMap(times(weights["encoder"].shape[-1], self._step / rate), (), (), weights, told.text)

    def _answers(self, inputs: Sequence[Audio], options: Mapping[str, Any]) -> Answers:
        model = self._open_model()
        check_should_stop(options.get("should_stop"))
        settings = read_settings(options, self._extractor.sampling_rate, self._step)
        left = set(range(len(inputs)))
        for place, answer in self._heard(model, inputs, settings, self._stopping(options.get("should_stop"))):
            left.discard(place)
            yield place, answer
        nothing = Transcript("", (), 0.0, () if settings.token_log_probs else None)
        yield from ((place, nothing) for place in sorted(left))  # the call was stopped before they were heard

    def _heard(self, model: FrameModel, inputs: Sequence[Audio], settings: Settings, stop: Stop) -> Answers:
        for start in range(0, len(inputs), TOGETHER):
            whole: dict[int, Sound] = {}  # those of one chunk
            for place in range(start, min(start + TOGETHER, len(inputs))):
                try:
                    chunks = self._chunks(inputs[place], settings)
                    first = next(chunks)
                    if first.last:
                        whole[place] = self._extractor.features(self._long_enough(first.audio))
                    else:
                        paths, stopped = self._heard_in_parts(model, place, chain([first], chunks), stop)
                        yield place, self._told(paths, settings)
                        if stopped:
                            return
                except InputError as error:
                    yield place, error
            for places in self._batches(model, whole):
                found = [[FramePath.of(logits)] for logits in model.logits([whole[place] for place in places])]
                yield from ((place, self._told(paths, settings)) for place, paths in zip(places, found, strict=True))
                if stop(places, found):
                    return

    def _stopping(self, should_stop: ShouldStop | None) -> Stop:
        """`should_stop` is asked whenever more of the recordings at these places was heard, with all that was heard in them."""
        if should_stop is None:
            return lambda places, found: False

        def text(tokens: Sequence[int]) -> str:
            return self._tokenizer.told(frame for token in tokens for frame in (token, self._tokenizer.blank_id))[0]

        def stop(places: Sequence[int], found: Sequence[Sequence[FramePath]]) -> bool:
            def tokens() -> list[tuple[int, ...]]:
                return [self._told(paths, TEXT_ONLY).tokens for paths in found]

            return bool(should_stop(Progress(tuple(places), len(found[0]), tokens, text)))

        return stop

    def _chunks(self, source: Audio, settings: Settings) -> Iterator[Chunk]:
        """At least one. Raises AudioError."""
        rate = self._extractor.sampling_rate
        blocks = read_blocks(source, settings.sampling_rate, rate, BLOCK * rate)
        if settings.cutting is not None:
            return settings.cutting.chunks(blocks)
        return iter([Chunk(np.concatenate(list(blocks)), 0, 0, last=True)])

    def _long_enough(self, audio: Sound) -> Sound:
        if len(audio) < self._shortest:
            given, shortest = (1000 * samples / self._extractor.sampling_rate for samples in (len(audio), self._shortest))
            raise AudioError(f"the audio is too short: {given:.1f} ms, and the model takes {shortest:.1f} ms and more.")
        return audio

    def _heard_in_parts(self, model: FrameModel, place: int, chunks: Iterator[Chunk], stop: Stop) -> tuple[list[FramePath], bool]:
        """What was heard, and whether the call is to stop there."""
        paths: list[FramePath] = []
        for chunk in chunks:
            if len(chunk.audio) < self._shortest:  # what is left for the last one
                continue
            paths.append(self._path(model, chunk))
            if stop([place], [tuple(paths)]):
                return paths, True
        return paths, False

    def _path(self, model: FrameModel, chunk: Chunk) -> FramePath:
        (logits,) = model.logits([self._extractor.features(chunk.audio)])
        return FramePath.of(logits[chunk.kept(len(logits), self._step)])

    def _told(self, paths: Sequence[FramePath], settings: Settings) -> Transcript:
        return transcript(
            joined(paths),
            self._tokenizer,
            self._step,
            self._extractor.sampling_rate,
            segments=settings.segments,
            words=settings.words,
            log_probs=settings.token_log_probs,
        )

    def _batches(self, model: FrameModel, rows: Mapping[int, Sound]) -> Iterator[list[int]]:
        """Places of recordings that are heard side by side: of like length, or of one where padding would be heard."""
        longest = BATCH * self._extractor.sampling_rate // self._step  # frames, as many as features or more
        batch: list[int] = []
        for place in sorted(rows, key=lambda place: len(rows[place])):
            length = len(rows[place]) // self._step if rows[place].ndim == 1 else len(rows[place])
            mixed = batch and not model.masked and len(rows[batch[0]]) != len(rows[place])
            if batch and (mixed or (len(batch) + 1) * length > longest):
                yield batch
                batch = []
            batch.append(place)
        if batch:
            yield batch
