"""What the decoder of a speech recognizer starts from: language, task and whether to tell times (transformers' `_retrieve_init_tokens`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from zen_edge.errors import BundleError, OptionError
from zen_edge.runtimes.decoding.checks import check_in_vocabulary, check_whole
from zen_edge.runtimes.speech.languages import CODES

TASKS = ("transcribe", "translate")


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a recognizer that are no words, as its generation config names them; None and empty for what it does not have."""

    start: int
    end: int
    languages: Mapping[str, int]  # "<|en|>" and so on
    tasks: Mapping[str, int]
    no_timestamps: int | None
    previous: int | None
    size: int
    multilingual: bool | None

    @classmethod
    def of(cls, generation: Mapping[str, Any], vocab_size: int) -> Vocabulary:
        """Raises BundleError for a generation config that names no ids, or ids outside of the vocabulary."""
        try:
            suppressed: list[int] = list(generation.get("suppress_tokens") or [])
            previous = generation.get("prev_sot_token_id", suppressed[-2] if len(suppressed) >= 2 else None)
            end = generation["eos_token_id"]
            found = cls(
                generation["decoder_start_token_id"],
                end[0] if isinstance(end, list) else end,
                dict(generation.get("lang_to_id") or {}),
                dict(generation.get("task_to_id") or {}),
                generation.get("no_timestamps_token_id"),
                previous,
                vocab_size,
                generation.get("is_multilingual"),
            )
            ids = [found.start, found.end, *found.languages.values(), *found.tasks.values()]
            ids += [id for id in (found.no_timestamps, found.previous) if id is not None]
            for id in ids:
                check_whole("a token of the generation config", id, 0)
            check_in_vocabulary("the generation config", ids, vocab_size)
        except (KeyError, TypeError, ValueError, OptionError) as error:
            raise BundleError(
                f"the generation config in the manifest does not say what a recognizer needs ({error}): export the model again."
            ) from error
        return found

    @property
    def first_time(self) -> int:
        """The token that tells 0.0 seconds; beyond every token where there is none."""
        return self.size + 1 if self.no_timestamps is None else self.no_timestamps + 1

    @property
    def no_speech(self) -> int | None:
        return None if self.no_timestamps is None else self.no_timestamps - 1

    def language_id(self, language: object) -> int:
        """Of "en", "english" or "<|en|>". Raises OptionError."""
        if not isinstance(language, str):
            raise OptionError(f"language must be a name or a code such as 'en', not {language!r}.")
        if not self.languages:
            raise OptionError(f"language={language!r}: this model names no languages; leave language out.")
        name = language.lower()
        token = name if name in self.languages else f"<|{CODES.get(name, name)}|>"
        if token not in self.languages:
            codes = [known.strip("<|>") for known in self.languages]
            near = get_close_matches(name, [*CODES, *codes], 1)
            raise OptionError(
                f"language={language!r} is not a language of this model{f'; did you mean {near[0]!r}?' if near else '.'} It has {', '.join(sorted(codes))}."
            )
        return self.languages[token]

    def language_of(self, start: tuple[int, ...]) -> str | None:
        """The code of the language that a prompt asks for."""
        named = [token.strip("<|>") for token, id in self.languages.items() if id in start]
        return named[-1] if named else "en" if self.multilingual is False else None


@dataclass(frozen=True)
class Prompt:
    """The decoder's first tokens. None stands where the language is that the audio turns out to be in."""

    tokens: tuple[int | None, ...]

    @property
    def detects(self) -> bool:
        return None in self.tokens

    def filled(self, language: int | None) -> tuple[int, ...]:
        return tuple(token for token in (language if token is None else token for token in self.tokens) if token is not None)


def prompt(vocabulary: Vocabulary, generation: Mapping[str, Any], *, language: str | None, task: str | None, timestamps: bool) -> Prompt:
    """language, task: as asked, else the generation config's own; without either the config's `forced_decoder_ids`. Raises OptionError."""
    if vocabulary.multilingual is False and (language is not None or task is not None):
        raise OptionError("this model hears and writes English only: leave language and task out.")
    if task is not None and task not in TASKS:
        raise OptionError(f"task={task!r} is not known; there are: {', '.join(TASKS)}.")
    if task is not None and task not in vocabulary.tasks:
        raise OptionError(f"task={task!r}: this model names no such task; leave task out.")
    language = generation.get("language") if language is None else language
    task = generation.get("task") if task is None else task
    tokens: list[int | None] = [vocabulary.start]
    if language is None and task is None:
        for place, (index, token) in enumerate(generation.get("forced_decoder_ids") or (), 1):
            if index != place:
                raise OptionError("the checkpoint's forced_decoder_ids leave a gap: give language and task.")
            tokens.append(token)
    if language is not None:
        tokens = [vocabulary.start, vocabulary.language_id(language)]
    elif vocabulary.languages and len(tokens) == 1:
        tokens.append(None)  # to be detected
    if task is not None:
        tokens.append(vocabulary.tasks.get(task))
    elif language is not None and vocabulary.tasks:
        tokens.append(vocabulary.tasks.get("transcribe"))
    if not vocabulary.languages:
        tokens = [token for token in tokens if token is not None]
    no_timestamps = vocabulary.no_timestamps
    if not timestamps and no_timestamps is not None and tokens[-1] != no_timestamps:
        tokens.append(no_timestamps)
    elif timestamps and tokens[-1] == no_timestamps:
        tokens.pop()
    return Prompt(tuple(tokens))
