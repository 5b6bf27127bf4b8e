"""The options of one call, checked before any line is looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from zen_edge.errors import OptionError
from zen_edge.manifest import Manifest
from zen_edge.runtimes.decoding import GenerationOptions
from zen_edge.runtimes.decoding.checks import check_in_vocabulary
from zen_edge.runtimes.pipelines.decoder_prefix import decoder_starts
from zen_edge.runtimes.pipelines.hypothesis import Hypothesis
from zen_edge.runtimes.pipelines.names import OWN, check_names
from zen_edge.runtimes.pipelines.progress import ShouldStop, check_should_stop
from zen_edge.runtimes.tokenization import Tokenizer

OVERFLOWS = ("error", "split", "truncate")


@dataclass(frozen=True)
class Settings:
    """The options of one call, checked."""

    generation: GenerationOptions
    overflow: str = "error"
    repetition_guard: bool = False
    source_lang: str | None = None
    target_lang: str | None = None
    should_stop: ShouldStop | None = None
    token_log_probs: bool = False
    starts: Sequence[tuple[int, ...]] = ()  # the decoder's first ids of each input

    @property
    def nothing(self) -> list[Hypothesis]:
        """The results of a blank line."""
        return [Hypothesis("", (), 0.0, () if self.token_log_probs else None)] * self.generation.num_return_sequences


class SettingsReader:
    """Reads options for one bundle."""

    def __init__(self, manifest: Manifest, tokenizer: Tokenizer) -> None:
        self._manifest, self._tokenizer = manifest, tokenizer
        self._vocab_size: int = manifest.limits["vocab_size"]
        self._generation = _remembering(manifest.generation, self._vocab_size)

    def read(self, options: Mapping[str, Any], inputs: int, *, scores: bool) -> Settings:
        """The settings of a call on so many inputs, which gives scores or the texts alone. Raises OptionError."""
        check_names(options)
        own = {name: options[name] for name in OWN if name in options}
        for name in ("source_lang", "target_lang"):
            if not isinstance(own.get(name), str | None):
                raise OptionError(f"{name} must be the code of a language, not {own[name]!r}.")
        asked = {name: options[name] for name in options if name not in OWN}
        language = self._tokenizer.forced_bos_token_id(own["target_lang"]) if own.get("target_lang") is not None else None
        if language is not None:
            where = self._where_languages_go(asked)
            if asked.setdefault(where, language) != language:
                raise OptionError(f"target_lang={own['target_lang']!r} is {where}={language}, and {where}={asked[where]!r} is given: leave one out.")
            language = None if where == "decoder_start_token_id" else language
        generation = self._generation(asked)
        starts = decoder_starts(own.pop("decoder_prefix", None), inputs, generation, language, self._tokenizer.encode_target, self._vocab_size)
        for length in {*map(len, starts)} - {1}:
            generation.active_rules(length, self._vocab_size, encoder_ids=())  # raises for lengths and token ids that do not fit the model
        settings = Settings(generation, **{"repetition_guard": own.get("overflow") == "split", **own}, starts=starts)
        check_should_stop(settings.should_stop)
        if not isinstance(settings.token_log_probs, bool):
            raise OptionError(f"token_log_probs must be true or false, not {settings.token_log_probs!r}.")
        if settings.token_log_probs and not scores:
            raise OptionError("token_log_probs=True is for generate(), whose results hold them; a call and stream() give the text alone.")
        if settings.overflow not in OVERFLOWS:
            raise OptionError(f"overflow={settings.overflow!r} is not known; there are: {', '.join(OVERFLOWS)}.")
        if not isinstance(settings.repetition_guard, bool):
            raise OptionError(f"repetition_guard must be true or false, not {settings.repetition_guard!r}.")
        self._tokenizer.encode("", source_lang=settings.source_lang, target_lang=settings.target_lang)  # a language it does not have
        return settings

    def _where_languages_go(self, asked: Mapping[str, Any]) -> str:
        """The option that holds the language: what the decoder starts from where that is a language itself (the first mBART, PLBart), else what
        is forced after it."""
        start = asked.get("decoder_start_token_id", self._manifest.generation.get("decoder_start_token_id"))
        languages = self._manifest.tokenizer.get("languages") or {}
        return "decoder_start_token_id" if start in languages.values() else "forced_bos_token_id"


def _remembering(defaults: Mapping[str, Any], vocab_size: int) -> Callable[[Mapping[str, Any]], GenerationOptions]:
    """`_generation` that knows its last answers: calls tend to ask for the same again, and a small model answers in a few milliseconds."""

    @lru_cache(maxsize=16, typed=True)
    def known(**asked: Any) -> GenerationOptions:
        return _generation(defaults, vocab_size, asked)

    def generation(asked: Mapping[str, Any]) -> GenerationOptions:
        simple = all(
            value is None or isinstance(value, str | int | float) for value in asked.values()
        )  # neither unhashable nor equal to another kind inside
        return known(**asked) if simple else _generation(defaults, vocab_size, asked)

    return generation


def _generation(defaults: Mapping[str, Any], vocab_size: int, asked: Mapping[str, Any]) -> GenerationOptions:
    """The options of a generation. Raises OptionError for lengths and token ids that do not fit the model."""
    generation = GenerationOptions.from_defaults(defaults, **asked)
    check_in_vocabulary("decoder_start_token_id", [generation.start_token_id], vocab_size)
    check_in_vocabulary("pad_token_id", [generation.filler_token_id], vocab_size)
    generation.active_rules(1, vocab_size, encoder_ids=())
    return generation
