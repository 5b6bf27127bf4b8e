"""What every pipeline that hears has in common: recordings in, transcripts out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from zen_edge.attention_map import AttentionMap
from zen_edge.checked import parse
from zen_edge.errors import AudioError, BundleError, InputError, OptionError, ZenEdgeError
from zen_edge.files import LARGEST_MANIFEST, read_small
from zen_edge.manifest import Manifest
from zen_edge.runtimes.audio import Extractor, Sound
from zen_edge.runtimes.pipelines.opened import M, Opened
from zen_edge.runtimes.pipelines.progress import sticky
from zen_edge.runtimes.speech.live import LONGEST, PAUSE, Live, live_rules, streamed
from zen_edge.runtimes.speech.transcript import Segment, Transcript

FEATURES = "preprocessor_config.json"
OF_RECORDINGS = (
    "batched",
    "condition_on_prev_tokens",
    "num_return_sequences",
    "token_log_probs",
)  # options that mean nothing for the segments of a stream

Audio = str | Path | bytes | np.ndarray[Any, Any]
Answers = Iterator[tuple[int, Transcript | InputError]]


class Recognizer(Opened[M], ABC):
    """A loaded bundle. Safe to share between threads; freed when it is let go of, or at the end of `with`.

    Audio is a path, the bytes of a file, or an array (samples,) with `sampling_rate=`.
    """

    hears: ClassVar[bool] = True
    manifest: Manifest
    _extractor: Extractor
    _at_once: float = 30.0  # seconds that are heard

    def __call__(self, inputs: Audio | Sequence[Audio], /, **options: Any) -> Any:
        """The text of one recording, or of each of several in their order."""
        texts = [best.text for best, *_ in self.generate(inputs, **self.for_text(options))]
        return texts[0] if _is_one(inputs) else texts

    def generate(self, inputs: Audio | Sequence[Audio], /, **options: Any) -> list[list[Transcript]]:
        """The transcript of each recording, in a list of one, or of `num_return_sequences`, best first, where the model decodes. Raises the InputError of the first that cannot be heard."""
        recordings = _several(inputs)
        found: dict[int, list[Transcript]] = {}
        for place, answer in self._answers(recordings, options):
            if isinstance(answer, InputError):
                raise type(answer)(f"input {place + 1} of {len(recordings)}: {answer}") if len(recordings) > 1 else answer
            found.setdefault(place, []).append(answer)
        return [found[place] for place in range(len(recordings))]

    def generate_each(self, inputs: Audio | Sequence[Audio], /, **options: Any) -> list[list[Transcript] | ZenEdgeError]:
        """Like `generate`, but a recording that cannot be heard gives its error in place of a transcript, and the others are heard."""
        found: dict[int, list[Transcript] | ZenEdgeError] = {}
        for place, answer in self._answers(_several(inputs), options):
            if isinstance(answer, InputError):
                found[place] = answer
            else:
                found.setdefault(place, []).append(answer)  # type: ignore[union-attr] # an input has an error or transcripts
        return [answer for _, answer in sorted(found.items())]

    def attend(self, inputs: Audio | Sequence[Audio], /, **options: Any) -> AttentionMap | list[AttentionMap]:
        """How the model attends while it hears a recording, or each of several: to its frames, whose labels are the seconds at which they begin, and to what it has
        written. Options are those of a call. A recording is one that is heard at once.

        ZenEdgeError where the bundle was exported without the weights of attention, InputError for a longer recording, and one in which nothing is heard.
        """
        found = [self._attended(one, self.for_text(options)) for one in _several(inputs)]
        return found[0] if _is_one(inputs) else found

    def stream(
        self, blocks: Iterable[Sound], /, *, sampling_rate: int, pause: float = PAUSE, longest: float = LONGEST, **options: Any
    ) -> Iterator[Segment]:
        """What is said in a sound while it comes, each segment as soon as it is settled, with its times in the whole.

        blocks: arrays (samples,) or (samples, channels) of any sizes. pause: seconds of silence that settle what was said before them. longest: seconds of
        unbroken speech, which is cut there. Each stretch of speech is heard as a recording by itself, with these options. Where `should_stop` says so the stream ends with what was heard so far.
        """
        return streamed(self.live(sampling_rate=sampling_rate, pause=pause, longest=longest, **options), blocks)

    def live(self, *, sampling_rate: int, pause: float = PAUSE, longest: float = LONGEST, **options: Any) -> Live:
        """As `stream`, for a caller that is given the blocks: `feed` and `finish` of what this returns answer with segments."""
        for name in OF_RECORDINGS:
            if options.get(name):
                raise OptionError(f"{name} is for recordings: the segments of a stream are heard each by itself; leave it out.")
        options = {**self.for_text(options), "sampling_rate": self._extractor.sampling_rate}
        for _ in self._answers((), options):  # raises for options that are wrong before any sound comes
            pass
        should_stop, stopped = sticky(options.get("should_stop"))
        options |= {"should_stop": should_stop} if should_stop else {}

        def hear(audio: Sound) -> Transcript | None:
            nonlocal options
            ((_, found),) = self._answers([audio], options)
            if isinstance(found, AudioError):  # it is too short: nothing else is wrong with sound that was cut here
                return None
            if isinstance(found, InputError):
                raise found
            options = self._following(options, found)
            return found

        return Live(hear, sampling_rate, self._extractor.sampling_rate, live_rules(pause, longest, self._at_once), stopped)

    def for_text(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options with which a recording becomes what is said in it, where they leave that open."""
        return dict(options)

    def _following(self, options: dict[str, Any], found: Transcript) -> dict[str, Any]:
        """The options for the parts of a stream that come after one with this transcript."""
        return options

    @abstractmethod
    def _attended(self, source: Audio, options: Mapping[str, Any]) -> AttentionMap:
        """Of one recording."""

    @abstractmethod
    def _answers(self, inputs: Sequence[Audio], options: Mapping[str, Any]) -> Answers:
        """(place, answer) of every recording, in any order; of one with several results one after the other, best first."""


def at_once(seconds: float) -> InputError:
    """What is said of a recording that is too long for a map."""
    return InputError(f"a map is of a recording that is heard at once, of up to {seconds:.0f} s, and this is longer: cut it.")


def read_config(folder: Path) -> dict[str, Any]:
    """What a bundle says of how the model wants its audio."""
    config = parse(read_small(folder / FEATURES, LARGEST_MANIFEST), FEATURES)
    if not isinstance(config, dict):
        raise BundleError(f"{FEATURES} does not say how the model wants its audio: export the model again.")
    return config


def _is_one(inputs: object) -> bool:
    return isinstance(inputs, str | Path | bytes | np.ndarray)


def _several(inputs: Any) -> Sequence[Audio]:
    if _is_one(inputs):
        return [inputs]
    if isinstance(inputs, Sequence) and not isinstance(inputs, bytearray | memoryview):
        return inputs
    raise InputError(f"expected a path, bytes, an array of samples, or a list of these, got a value of type {type(inputs).__name__}.")
