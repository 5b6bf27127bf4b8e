"""The options of a call of a recognizer of utterances, checked before any sound is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from zen_edge.errors import OptionError
from zen_edge.manifest import Manifest
from zen_edge.runtimes.audio.voice_activity import Rules
from zen_edge.runtimes.decoding import GenerationOptions
from zen_edge.runtimes.decoding.checks import check_in_vocabulary, check_number
from zen_edge.runtimes.decoding.options import option_names, unknown_option
from zen_edge.runtimes.decoding.unsupported import NEUTRAL
from zen_edge.runtimes.speech import settings as of_windows
from zen_edge.runtimes.tokenization.special_tokens import nearest_first

OWN = ("batched", "chunk_length_s", "language", "return_timestamps", "sampling_rate", "segments", "token_log_probs", "words")
SWITCHES = ("batched", "segments", "token_log_probs", "words")
CHUNK = 30.0  # seconds; longer ones are far from what such models were trained on
SHORTEST = 1 + 2 * Rules().margin  # that silences are looked for in
NO_TOKENS = {name: reason for name, reason in of_windows.REFUSED.items() if reason.startswith("audio has no tokens")}


@dataclass(frozen=True)
class Settings:
    """longest: seconds that are heard in one piece, None for any length. segments: whether the times of pieces are told."""

    generation: GenerationOptions
    longest: float | None
    segments: bool
    token_log_probs: bool
    sampling_rate: int | None
    language: str | None


class SettingsReader:
    """Reads options for one bundle."""

    def __init__(self, manifest: Manifest) -> None:
        self._generation, self._vocab_size = manifest.generation, manifest.limits["vocab_size"]
        self._positions = manifest.limits.get("max_target_length")
        self._languages: Mapping[str, int] = manifest.tokenizer.get("languages") or {}

    def read(self, given: Mapping[str, Any]) -> Settings:
        """Raises OptionError."""
        known = (option_names() - NO_TOKENS.keys()) | set(OWN)
        for name in sorted(given.keys() - known - NEUTRAL.keys()):
            if name in of_windows.OWN:
                raise OptionError(f"{name} is for models that hear windows of one length, such as Whisper; this one hears utterances: leave it out.")
            raise OptionError(f"{name} is not for speech: {NO_TOKENS[name]}." if name in NO_TOKENS else unknown_option(name, known))
        own = {name: given[name] for name in OWN if given.get(name) is not None}
        for name in SWITCHES:
            if not isinstance(own.get(name, False), bool):
                raise OptionError(f"{name} must be true or false, not {own[name]!r}.")
        times = own.get("return_timestamps", False)
        if times == "word" or own.get("words"):
            raise OptionError("this model tells no times of words; segments=True tells those of the pieces that a long recording is cut into.")
        if times not in (True, False):
            raise OptionError(f"return_timestamps must be true or false, not {times!r}.")
        if own.get("batched") is False:
            raise OptionError("batched=False: pieces of a long recording are always heard side by side; chunk_length_s=0 hears it in one piece.")
        return Settings(
            self._search({name: value for name, value in given.items() if name not in OWN}, own.get("language")),
            _longest(own.get("chunk_length_s", CHUNK)),
            times or own.get("segments", False),
            own.get("token_log_probs", False),
            own.get("sampling_rate"),
            own.get("language"),
        )

    def _search(self, asked: dict[str, Any], language: object) -> GenerationOptions:
        if language is not None:
            spoken = self._language(language)
            if asked.setdefault("forced_bos_token_id", spoken) != spoken:
                raise OptionError(f"language={language!r} is forced_bos_token_id={spoken}, and another one is given: leave one out.")
        options = GenerationOptions.from_defaults(self._generation, **asked)
        if options.num_return_sequences > 1:
            raise OptionError("num_return_sequences is for texts: a recording has one transcript.")
        check_in_vocabulary("decoder_start_token_id", [options.start_token_id], self._vocab_size)
        options.active_rules(1, self._vocab_size)  # raises for token ids that do not fit the model
        if self._positions is not None and options.length_limit(1) > self._positions:
            if "max_new_tokens" in asked or "max_length" in asked:
                raise OptionError(
                    f"{options.length_limit(1)} tokens are asked for, the start counted in, and the model has {self._positions} positions."
                )
            options = replace(options, max_length=self._positions, max_new_tokens=None)
        return options

    def _language(self, code: object) -> int:
        if not isinstance(code, str):
            raise OptionError(f"language must be the code of a language, not {code!r}.")
        if code not in self._languages:
            has = f"it has {', '.join(nearest_first(code, self._languages))}" if self._languages else "it has no codes of languages: leave it out"
            raise OptionError(f"language={code!r} is not a language that this model is told; {has}.")
        return self._languages[code]


def _longest(given: object) -> float | None:
    check_number("chunk_length_s", given)
    seconds = float(given)  # type: ignore[arg-type]
    if seconds and seconds < SHORTEST:
        raise OptionError(f"chunk_length_s must be {SHORTEST:g} seconds or more, or 0 to hear any length in one piece, not {given!r}.")
    return seconds or None
