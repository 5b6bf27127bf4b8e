"""The options of a call of a CTC recognizer, checked before any sound is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

from zen_edge.errors import OptionError
from zen_edge.runtimes.ctc.chunks import Cutting
from zen_edge.runtimes.decoding.options import unknown_option
from zen_edge.runtimes.decoding.unsupported import NEUTRAL

OWN = ("chunk_length_s", "return_timestamps", "sampling_rate", "segments", "should_stop", "stride_length_s", "token_log_probs", "words")
SWITCHES = ("segments", "token_log_probs", "words")
CHUNK = 30.0  # seconds; attention costs their square
# What would change nothing, because every frame is one choice.
SINGLE = {"num_beams": 1, "num_return_sequences": 1, "do_sample": False}


@dataclass(frozen=True)
class Settings:
    """cutting: None where sound is never cut. segments, words: whether their times are told."""

    cutting: Cutting | None
    segments: bool
    words: bool
    token_log_probs: bool
    sampling_rate: int | None


def read_settings(given: Mapping[str, Any], sampling_rate: int, step: int) -> Settings:
    """sampling_rate: the model's; step: samples of one frame. Raises OptionError."""
    for name in sorted(given.keys() - set(OWN) - NEUTRAL.keys()):
        if name in SINGLE:
            if given[name] not in (None, SINGLE[name]):
                raise OptionError(f"{name}={given[name]!r} is for models with a decoder; this one chooses for each frame by itself.")
            continue
        raise OptionError(unknown_option(name, set(OWN) | SINGLE.keys()))
    own = {name: given[name] for name in OWN if given.get(name) is not None}
    for name in SWITCHES:
        if not isinstance(own.get(name, False), bool):
            raise OptionError(f"{name} must be true or false, not {own[name]!r}.")
    times = own.get("return_timestamps", False)
    if times not in (True, False, "word"):
        raise OptionError(f"return_timestamps must be true, false or 'word', not {times!r}.")
    return Settings(
        _cutting(own, sampling_rate, step),
        bool(times) or own.get("segments", False) or own.get("words", False),
        times == "word" or own.get("words", False),
        own.get("token_log_probs", False),
        own.get("sampling_rate"),
    )


def _cutting(own: Mapping[str, Any], sampling_rate: int, step: int) -> Cutting | None:
    chunk = _seconds("chunk_length_s", own.get("chunk_length_s", CHUNK))
    given = own.get("stride_length_s", chunk / 6)
    sides = tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else (given, given)
    if len(sides) != 2:
        raise OptionError(f"stride_length_s is a number of seconds, or one for each end, not {given!r}.")
    left, right = (_seconds("stride_length_s", side) for side in sides)
    if chunk == 0:
        if left or right:
            raise OptionError("stride_length_s is for chunks, and chunk_length_s=0 makes none: leave one out.")
        return None
    return Cutting.of(chunk, (left, right), sampling_rate, step)


def _seconds(name: str, given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not isfinite(given) or not 0 <= given < inf:
        raise OptionError(f"{name} must be a number of seconds from 0, not {given!r}.")
    return float(given)
