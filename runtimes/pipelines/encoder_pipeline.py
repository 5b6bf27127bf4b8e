"""What the pipelines of models of one graph share: an encoder with a head, a tokenizer that tells all of its tokens, options by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from tokenizers import Encoding

from zen_edge.attention_map import AttentionMap
from zen_edge.errors import BundleError, InputError, OptionError, ZenEdgeError
from zen_edge.manifest import Manifest
from zen_edge.runtimes.attention import BLANK, Attending
from zen_edge.runtimes.encoder import Encoder, Found, Row
from zen_edge.runtimes.pipelines.opened import Opened
from zen_edge.runtimes.providers import Device
from zen_edge.runtimes.tokenization import load_tokenizer
from zen_edge.runtimes.tokenization.fast import FastTokenizer

T = TypeVar("T")

OVERFLOWS = ("error", "truncate")


class EncoderPipeline(Opened[Encoder], ABC):
    """A loaded bundle. Safe to share between threads; freed when it is let go of, or at the end of `with`."""

    def __init__(self, folder: Path, manifest: Manifest, *, device: Device = "cpu", threads: int | None = None) -> None:
        self.manifest = manifest
        tokenizer = load_tokenizer(folder, manifest.tokenizer)
        if not isinstance(tokenizer, FastTokenizer):
            kind = manifest.tokenizer.get("kind")
            raise BundleError(f"{manifest.task} needs a tokenizer of the `tokenizers` library, not one of kind {kind!r}: export the model again.")
        self._tokenizer = tokenizer
        self._most = min((most for most in (manifest.limits.get("max_source_length"), tokenizer.max_length) if most), default=2**20)
        self._model = Encoder(folder, manifest, device, threads)
        self._attending = Attending(folder, manifest, device, threads)

    @abstractmethod
    def generate_each(self, inputs: Sequence[Any], /, **options: Any) -> list[list[Any] | ZenEdgeError]:
        """The results of each input, best first, or the error of one that cannot be answered."""

    def attend(self, text: str, /, *, pair: str | None = None, **options: Any) -> AttentionMap:
        """How the tokens of a text attend to each other, or of two that are read together, such as a question and its context. It has no options.

        ZenEdgeError where the bundle was exported without the weights of attention, InputError for what is no text or more than the model takes.
        """
        if options:
            raise OptionError(f"what {self.manifest.task} attends to has no options: leave {', '.join(options)} out.")
        if not require_text(text).strip():
            raise InputError(BLANK)
        encoding = self._fitting(self._attended(text, None if pair is None else require_text(pair)), "give a shorter one")
        feeds = self._open_model().feeds([{"input_ids": encoding.ids, "token_type_ids": encoding.type_ids}])
        weights = {kind: value[0] for kind, value in self._attending.one_graph().weights(feeds).items()}
        return AttentionMap(tuple(self._tokenizer.pieces(encoding.ids)), (), (), weights, text)

    def _attended(self, text: str, pair: str | None) -> Encoding:
        return self._tokenizer.encoding(text, pair)

    def _best(self, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[list[Any]]:
        """The results of all inputs. Raises the error of the first that has none."""
        found = []
        for place, results in enumerate(self.generate_each(inputs, **options)):
            if isinstance(results, ZenEdgeError):
                raise type(results)(f"input {place + 1} of {len(inputs)}: {results}") if len(inputs) > 1 else results
            found.append(results)
        return found

    def _each(self, inputs: Sequence[Any], row: Callable[[Any], tuple[T, Row]], told: Callable[[T, Found], Any]) -> list[list[Any] | ZenEdgeError]:
        """For each input its result, in a list of one, or its error. row: an input as what is to be kept of it and as the graph reads it; it raises
        InputError. told: what was kept and what the graph says, as the result."""
        model = self._open_model()
        found: dict[int, list[Any] | ZenEdgeError] = {}
        rows: dict[int, tuple[T, Row]] = {}
        for place, given in enumerate(inputs):
            try:
                rows[place] = row(given)
            except InputError as error:
                found[place] = error
        places = list(rows)
        for number, outputs in model.run([each for _, each in rows.values()]):
            place = places[number]
            found[place] = [told(rows[place][0], outputs)]
        return [found[place] for place in range(len(inputs))]

    def _encoding(self, text: Any, pair: Any = None, *, truncate: bool) -> Encoding:
        """text: or a tuple of its words. Raises InputError for what is no text, and for one that is longer than the model takes unless it is to be cut."""
        first = text if isinstance(text, tuple) else require_text(text)
        encoding = self._tokenizer.encoding(first, None if pair is None else require_text(pair), most=self._most if truncate else None)
        return self._fitting(encoding, 'give a shorter one, or overflow="truncate" for its beginning')

    def _fitting(self, encoding: Encoding, advice: str) -> Encoding:
        """Raises InputError, with advice, for one that is longer than the model takes."""
        if len(encoding) > self._most:
            raise InputError(f"the text has {len(encoding)} tokens, and the model takes {self._most}: {advice}.")
        return encoding

    def _truncates(self, options: Mapping[str, Any]) -> bool:
        """Whether long texts are cut. Raises OptionError."""
        overflow = options.get("overflow", OVERFLOWS[0])
        if overflow not in OVERFLOWS:
            raise OptionError(f"overflow={overflow!r} is not known; there are: {', '.join(OVERFLOWS)}.")
        return bool(overflow == "truncate")

    def _known(self, options: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
        """The options that are given. Raises OptionError for one whose name is none of `names`."""
        for name in options:
            if name not in names:
                near = get_close_matches(name, names, n=1)
                there_are = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}."
                raise OptionError(f"there is no option {name} of {self.manifest.task}; {there_are}")
        return {name: value for name, value in options.items() if value is not None}


def require_text(given: Any) -> str:
    """Raises InputError for what is no text."""
    if not isinstance(given, str):
        raise InputError(f"expected a text, got a value of type {type(given).__name__}.")
    return given


def whole_number(options: Mapping[str, Any], name: str, least: int, usual: int) -> int:
    """An option that is a number from `least` on. Raises OptionError."""
    value = options.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OptionError(f"{name} must be a whole number from {least}, not {value!r}.")
    return value
