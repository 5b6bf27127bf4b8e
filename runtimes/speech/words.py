"""Tokens grouped into words: at spaces, or at every character where a language has none, with punctuation at the word it belongs to (as
openai/whisper and transformers do it)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]

WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
OPENING = "\"'“¡¿([{-"
CLOSING = "\"'.。,，!！?？:：”)]}、"
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
UNFINISHED = "\ufffd"  # what a part of a character decodes to


def group(tokens: Sequence[int], decode: Decode, language: str | None) -> list[tuple[str, list[int]]]:
    """(word, places of its tokens) for every word of `tokens`, which are all of text."""
    pieces = _characters(tokens, decode)
    if language not in WITHOUT_SPACES:
        pieces = _joined(pieces)
    return _with_punctuation(pieces)


def _characters(tokens: Sequence[int], decode: Decode) -> list[tuple[str, list[int]]]:
    """The shortest runs of tokens that are whole characters."""
    whole = decode(tokens)
    found: list[tuple[str, list[int]]] = []
    run: list[int] = []
    done = 0
    for place in range(len(tokens)):
        run.append(place)
        text = decode([tokens[each] for each in run])
        at = done + text.find(UNFINISHED) if UNFINISHED in text else len(whole)
        if at >= len(whole) or whole[at] == UNFINISHED:
            found.append((text, run))
            run = []
            done += len(text)
    if run:  # the tokens end within a character
        found.append((decode([tokens[each] for each in run]), run))
    return found


def _joined(pieces: list[tuple[str, list[int]]]) -> list[tuple[str, list[int]]]:
    words: list[tuple[str, list[int]]] = []
    for text, places in pieces:
        if not words or text.startswith(" ") or text.strip() in PUNCTUATION:
            words.append((text, list(places)))
        else:
            words[-1] = words[-1][0] + text, words[-1][1] + places
    return words


def _with_punctuation(words: list[tuple[str, list[int]]]) -> list[tuple[str, list[int]]]:
    """What opens goes to the word after it, what closes to the one before it."""
    opened: list[tuple[str, list[int]]] = []
    for text, places in reversed(words):
        if opened and text.startswith(" ") and text.strip() in OPENING:
            opened[-1] = text + opened[-1][0], places + opened[-1][1]
        else:
            opened.append((text, places))
    closed: list[tuple[str, list[int]]] = []
    for text, places in reversed(opened):
        if closed and not closed[-1][0].endswith(" ") and text in CLOSING:
            closed[-1] = closed[-1][0] + text, closed[-1][1] + places
        else:
            closed.append((text, places))
    return [word for word in closed if word[0]]
