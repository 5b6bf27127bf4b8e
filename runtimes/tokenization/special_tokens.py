"""The ids before and after a text, and the language codes that are among them (NLLB, mBART, M2M-100, PLBart)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from zen_edge.errors import OptionError


@dataclass(frozen=True)
class SpecialTokens:
    prefix: tuple[int | None, ...]  # None: the source language's id, left out where there is no language
    suffix: tuple[int | None, ...]
    languages: Mapping[str, int]
    source_lang: str | None  # what the checkpoint speaks when nothing is asked
    target_lang: str | None

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "SpecialTokens":
        languages = {str(code): int(id) for code, id in settings["languages"].items()}
        source, target = settings["source_lang"], settings["target_lang"]
        if not languages.keys() >= {source, target} - {None}:
            raise ValueError(f"source_lang {source!r} or target_lang {target!r} is not among its languages")
        return cls(_ids(settings["prefix_ids"]), _ids(settings["suffix_ids"]), languages, source, target)

    def around(self, ids: Sequence[int], source_lang: str | None = None) -> list[int]:
        """`ids` between the prefix and the suffix. Raises OptionError for a language that the model does not have."""
        code = self.source_lang if source_lang is None else source_lang
        language = None if code is None else self._id("source_lang", code)
        prefix, suffix = ([language if id is None else id for id in side] for side in (self.prefix, self.suffix))
        return [id for id in (*prefix, *ids, *suffix) if id is not None]

    def forced_bos_token_id(self, target_lang: str | None) -> int | None:
        """The id of the language to generate: of `target_lang`, else of the checkpoint's own, None where it names none. Raises OptionError."""
        code = self.target_lang if target_lang is None else target_lang
        return None if code is None else self._id("target_lang", code)

    def _id(self, option: str, code: str) -> int:
        if code in self.languages:
            return self.languages[code]
        if not self.languages:
            raise OptionError(f"{option}={code!r}: this model has no language codes; leave {option} out.")
        raise OptionError(f"{option}={code!r} is not a language of this model; it has {', '.join(nearest_first(code, self.languages))}.")


def nearest_first(code: str, codes: Iterable[str]) -> list[str]:
    """All codes; first those that begin alike, for `fr` and `french` both mean `fra_Latn`."""

    def distance(known: str) -> tuple[bool, float, str]:
        return known[:2].lower() != code[:2].lower(), -SequenceMatcher(None, code.lower(), known.lower()).ratio(), known

    return sorted(codes, key=distance)


def _ids(settings: Sequence[int | None]) -> tuple[int | None, ...]:
    return tuple(None if id is None else int(id) for id in settings)
