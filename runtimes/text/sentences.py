"""Where sentences end.

The library is sentencex: wheels of 1 MB for Linux, macOS and Windows, no dependencies, maintained, with rules of 31 languages and the full stops of all
scripts. On 600 kB of English (200 pages, 10,000 sentences) it took 0.02 s paragraph by paragraph and 0.1 s as one paragraph; pysbd took 3.8 s, and for one paragraph
of 40 kB already 1.4 s, growing with the square of its length; blingfire (99 MB) gives other text back than it got; nupunkt knows English only.
docs/long-text.md has the table.

Only borders are taken from it, never text, so nothing can be lost or changed.
"""

from __future__ import annotations

import re
from typing import Any

# Language codes of NLLB and mBART-50 begin with the three or two letters of ISO 639; the library wants two where there are two.
_TWO_LETTERS = {
    "amh": "am", "arb": "ar", "bul": "bg", "ben": "bn", "cat": "ca", "dan": "da", "deu": "de", "ell": "el", "eng": "en", "spa": "es", "fin": "fi",
    "fra": "fr", "guj": "gu", "hin": "hi", "hye": "hy", "ita": "it", "jpn": "ja", "kaz": "kk", "kan": "kn", "kor": "ko", "mal": "ml", "mar": "mr",
    "mya": "my", "nld": "nl", "pan": "pa", "pol": "pl", "por": "pt", "rus": "ru", "slk": "sk", "swe": "sv", "tam": "ta", "tel": "te", "ukr": "uk",
    "zho": "zh",
}  # fmt: skip
_WHITE = {code: " " for code in range(0x3001) if chr(code).isspace()}
_TERMINATOR = re.compile(r"[.!?…。！？।؟]+[\"'”’»)\]]*\s+|[。！？]+[」』”’）]*")


def sentence_ends(text: str, language: str | None = None) -> list[int]:
    """The positions in `text`, one paragraph, behind each sentence and the space after it; the last is its length.

    language: of any kind of code ("de", "de_DE", "deu_Latn"); an unknown one, or None, is taken for English, which knows the full stops of all scripts.
    """
    # Any white space is one of width one: of a multi-byte one before a full stop sentencex 1.0.32 loses its place.
    plain = text.translate(_WHITE)
    ends = {end for end in _library_ends(plain, library_code(language)) if 0 < end < len(text)}
    return [*sorted(ends), len(text)] if text else []


def library_code(language: str | None) -> str:
    """The library's name of a language."""
    code = re.split(r"[^a-z]", str(language or "en").lower())[0]
    return _TWO_LETTERS.get(code, code)


def _library_ends(text: str, language: str) -> list[int]:
    import sentencex  # a shared library that short lines do not need

    try:
        boundaries: list[dict[str, Any]] = sentencex.get_sentence_boundaries(language, text)
    except BaseException as error:  # a fault of its Rust code is no Exception: it would end the thread of a server
        if type(error).__name__ != "PanicException":
            raise
        return [match.end() for match in _TERMINATOR.finditer(text)]
    return [boundary["end_index"] for boundary in boundaries]
