"""The options of a call that hears speech, checked before any audio is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding import GenerationOptions
from zen_edge.runtimes.decoding.checks import check_in_vocabulary, check_number, token_ids
from zen_edge.runtimes.decoding.options import option_names, unknown_option
from zen_edge.runtimes.decoding.unsupported import NEUTRAL, SAMPLING_ONLY
from zen_edge.runtimes.speech.prompts import Prompt, Vocabulary, prompt
from zen_edge.runtimes.speech.windows import Thresholds
from zen_edge.runtimes.tokenization.whisper import WhisperTokenizer

OWN = (
    "batched", "compression_ratio_threshold", "condition_on_prev_tokens", "language", "logprob_threshold", "no_speech_threshold", "prompt", "prompt_condition_type",
    "prompt_ids", "return_timestamps", "sampling_rate", "segments", "should_stop", "task", "temperature", "token_log_probs", "window", "words",
)  # fmt: skip
WINDOWS = ("auto", "full")
# Where parts are heard side by side: times keep a long window from going round in circles, and what does so all the same is heard again.
BATCHED = {"return_timestamps": True, "temperature": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), "compression_ratio_threshold": 2.4, "logprob_threshold": -1.0}
CONDITIONS = ("first-segment", "all-segments")
# Options of a search that have no meaning here, and why.
REFUSED = {
    "decoder_start_token_id": "language and task choose what the decoder starts from",
    "encoder_no_repeat_ngram_size": "audio has no tokens that could be repeated",
    "encoder_repetition_penalty": "audio has no tokens that could be repeated",
    "forced_bos_token_id": "language and task choose what the decoder starts from",
    "max_initial_timestamp_index": "it belongs to the checkpoint",
    "no_timestamps_token_id": "it belongs to the checkpoint",
    "prompt_lookup_num_tokens": "audio has no tokens that could be looked up",
}


@dataclass(frozen=True)
class Settings:
    """prompts: of each input. options: of the search, for each temperature. timestamps: None where the length of the audio decides. short: whether
    short audio may be heard in a short window. batched: whether long audio is cut at its silences and heard side by side. results: of each input."""

    prompts: tuple[Prompt, ...]
    timed_prompts: tuple[Prompt, ...]
    options: tuple[tuple[float, GenerationOptions], ...]
    timed_options: tuple[tuple[float, GenerationOptions], ...]
    timestamps: bool | None
    thresholds: Thresholds
    words: bool
    context: bool
    said_before: tuple[int, ...]
    said_always: bool
    token_log_probs: bool
    sampling_rate: int | None
    short: bool
    batched: bool
    results: int


class SettingsReader:
    """Reads options for one bundle."""

    def __init__(self, generation: Mapping[str, Any], vocabulary: Vocabulary, tokenizer: WhisperTokenizer) -> None:
        self._generation, self._vocabulary, self._tokenizer = generation, vocabulary, tokenizer

    def read(self, given: Mapping[str, Any], inputs: int) -> Settings:
        """Raises OptionError."""
        known = (option_names() - REFUSED.keys()) | set(OWN)
        for name in sorted(given.keys() - known - NEUTRAL.keys()):
            raise OptionError(f"{name} is not for speech: {REFUSED[name]}." if name in REFUSED else unknown_option(name, known))
        own = {name: given[name] for name in OWN if given.get(name) is not None}
        if own.get("return_timestamps") == "word":  # as transformers' pipeline has it
            own |= {"return_timestamps": True, "words": True}
        search = {name: value for name, value in given.items() if name not in OWN}
        if own.get("batched"):
            own, search = {**BATCHED, **own}, {"seed": 0, **search}
        defaults = self._generation
        for name in ("return_timestamps", "segments", "words", "token_log_probs", "condition_on_prev_tokens", "batched"):
            if not isinstance(own.get(name, False), bool):
                raise OptionError(f"{name} must be true or false, not {own[name]!r}.")
        timestamps = self._timestamps(own)
        languages = _of_each("language", own.get("language"), inputs)
        thresholds = Thresholds(*(self._threshold(name, own) for name in ("compression_ratio_threshold", "logprob_threshold", "no_speech_threshold")))
        if thresholds.no_speech_threshold is not None and thresholds.logprob_threshold is None:
            raise OptionError(
                "no_speech_threshold goes together with logprob_threshold: silence is what sounds unlikely and like no speech; give both."
            )
        window = own.get("window", WINDOWS[0])
        if window not in WINDOWS:
            raise OptionError(f"window={window!r} is not known; there are: {', '.join(WINDOWS)}.")
        condition = own.get("prompt_condition_type", CONDITIONS[0])
        context = own.get("condition_on_prev_tokens", defaults.get("condition_on_prev_tokens") or False)
        if condition not in CONDITIONS:
            raise OptionError(f"prompt_condition_type={condition!r} is not known; there are: {', '.join(CONDITIONS)}.")
        if condition == "all-segments" and not context:
            raise OptionError("prompt_condition_type='all-segments' needs condition_on_prev_tokens=True.")
        if own.get("batched") and own.get("condition_on_prev_tokens"):
            raise OptionError("batched=True hears parts side by side, and condition_on_prev_tokens=True needs the one before: leave one out.")
        prompts, timed = (
            tuple(prompt(self._vocabulary, defaults, language=language, task=own.get("task"), timestamps=told) for language in languages)
            for told in (False, True)
        )
        temperatures = _temperatures(own.get("temperature", 1.0 if search.get("do_sample") else 0.0))
        options = tuple((each, self._search(search, each, temperatures, False)) for each in temperatures)
        return Settings(
            prompts,
            timed,
            options,
            tuple((each, self._search(search, each, temperatures, True)) for each in temperatures)
            if self._vocabulary.no_timestamps is not None
            else (),
            timestamps,
            thresholds,
            own.get("words", False),
            context,
            self._said_before(own),
            condition == "all-segments",
            own.get("token_log_probs", False),
            own.get("sampling_rate"),
            window == "auto",
            own.get("batched", False),
            options[0][1].num_return_sequences,
        )

    def _timestamps(self, own: Mapping[str, Any]) -> bool | None:
        wanted = own.get("segments", False) or own.get("words", False)
        timestamps: bool | None = own.get("return_timestamps", True if wanted else self._generation.get("return_timestamps") or None)
        if timestamps is False and own.get("segments"):
            raise OptionError("segments=True needs times, and return_timestamps=False is given: leave one out.")
        if timestamps and self._vocabulary.no_timestamps is None:
            raise OptionError("this model writes no times: its generation config has no no_timestamps_token_id.")
        if own.get("words") and not self._generation.get("alignment_heads"):
            raise OptionError("words=True needs the checkpoint's alignment_heads, and its generation config names none: add them and export again.")
        return timestamps

    def _threshold(self, name: str, own: Mapping[str, Any]) -> float | None:
        value: float | None = own.get(name, self._generation.get(name))
        if value is not None:
            check_number(name, value)
        return value

    def _search(self, given: Mapping[str, Any], temperature: float, temperatures: Sequence[float], timestamps: bool) -> GenerationOptions:
        asked = {name: value for name, value in given.items() if name != "do_sample"}
        if temperature > 0:
            asked |= {"do_sample": True, "temperature": temperature, "num_beams": 1}
        else:
            asked = {name: value for name, value in asked.items() if name not in SAMPLING_ONLY or max(temperatures) == 0} | {"do_sample": False}
        defaults = {**self._generation, "temperature": None, "forced_bos_token_id": None}
        options = GenerationOptions.from_defaults(defaults, **asked, return_timestamps=timestamps)
        options.active_rules(1, self._vocabulary.size)  # raises for token ids that do not fit the model
        return options

    def _said_before(self, own: Mapping[str, Any]) -> tuple[int, ...]:
        if "prompt" in own and "prompt_ids" in own:
            raise OptionError("prompt and prompt_ids are the same in words and in ids: leave one out.")
        if "prompt" in own:
            if not isinstance(own["prompt"], str):
                raise OptionError(f"prompt must be a text, not {own['prompt']!r}.")
            return tuple(self._tokenizer.prompt_ids(own["prompt"]))
        given: Any = own.get("prompt_ids")
        ids = token_ids("prompt_ids", given.tolist() if hasattr(given, "tolist") else given)
        check_in_vocabulary("prompt_ids", ids, self._vocabulary.size)
        return ids


def _of_each(name: str, given: object, inputs: int) -> list[Any]:
    if given is None or isinstance(given, str):
        return [given] * inputs
    if not isinstance(given, Sequence) or len(given) != inputs:
        raise OptionError(f"{name} is one text for all inputs, or a list of one for each of the {inputs}, not {given!r}.")
    return list(given)


def _temperatures(given: object) -> tuple[float, ...]:
    several: Sequence[Any] = given if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    for one in several:
        if isinstance(one, bool) or not isinstance(one, int | float) or not isfinite(one) or one < 0:
            raise OptionError(f"temperature must be a number from 0, or several to try in turn, not {given!r}.")
    if not several:
        raise OptionError("temperature is an empty list: give at least one.")
    return tuple(float(one) for one in several)
