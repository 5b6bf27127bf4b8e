"""Tokens that are cut out of the text before any vocabulary sees it (`</s>`, `<pad>`, added words).

The rules, their order and their slips are those of transformers 5 (`Trie.split` and `tokenize` in tokenization_python.py, Apache-2.0):
where two added tokens overlap, an earlier half-read one is looked ahead from one character too far. Ids depend on it, so it stays.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AddedToken:
    content: str
    id: int
    lstrip: bool = False  # takes the white space on its left with it
    rstrip: bool = False
    single_word: bool = False  # counts only between spaces

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "AddedToken":
        return cls(str(settings["content"]), int(settings["id"]), bool(settings["lstrip"]), bool(settings["rstrip"]), bool(settings["single_word"]))


class AddedTokens:
    """Splits text into parts; a part that is in `tokens` stays whole, the others go to the vocabulary."""

    def __init__(self, tokens: Sequence[AddedToken]) -> None:
        self.tokens = {token.content: token for token in tokens}
        self._contents = [content for content in self.tokens if content]
        self._trie = _trie(self._contents)

    def split(self, text: str) -> list[str]:
        if not any(content in text for content in self._contents):  # most lines: no walk in Python
            return [text] if text else []
        parts = _cut(text, _offsets(text, self._trie))
        for i, part in enumerate(parts):  # parts change while they are walked: a later token sees what an earlier one left
            token = self.tokens.get(part)
            if token is None:
                continue
            left = parts[i - 1] if i > 0 else ""
            right = parts[i + 1] if i + 1 < len(parts) else ""
            if token.rstrip and right:
                parts[i + 1] = right.lstrip()
            if token.lstrip and left:
                parts[i - 1] = left.rstrip()
            if token.single_word:
                if left and left[-1] != " ":
                    parts[i - 1] += part
                    parts[i] = ""
                elif right and right[0] != " ":
                    parts[i + 1] = part + parts[i + 1]
                    parts[i] = ""
        return [part for part in parts if part]


_Node = dict[str, Any]  # a character to the next node; the empty string marks the end of a token


def _trie(contents: Collection[str]) -> _Node:
    root: _Node = {}
    for content in contents:
        node = root
        for character in content:
            node = node.setdefault(character, {})
        node[""] = True
    return root


def _offsets(text: str, trie: _Node) -> list[int]:
    """Where to cut: start and end of every token found, in order."""
    offsets: list[int] = []
    states: dict[int, _Node] = {}  # where half-read tokens start, earliest first, and how far they are read
    skip = 0
    for current, character in enumerate(text):
        if current < skip:
            continue
        failed: list[int] = []
        for start, node in states.items():
            if "" in node:
                start, skip = _longest(text, states, start, current)
                offsets += start, skip
                states, failed = {}, []
                break
            if character in node:
                states[start] = node[character]
            else:
                failed.append(start)
        for start in failed:
            del states[start]
        if current >= skip and character in trie:
            states[current] = trie[character]
    whole = next((start for start, node in states.items() if "" in node), None)
    return offsets if whole is None else [*offsets, whole, len(text)]


def _longest(text: str, states: Mapping[int, _Node], found: int, current: int) -> tuple[int, int]:
    """The earliest token that can still be read to its end, and that end at its longest. One that starts at `found` is complete."""
    for start, node in states.items():
        index = current + 1 if start < found else current  # the slip: an earlier one that failed at `current` was not moved on
        end = index if "" in node else None
        while index < len(text) and text[index] in node:
            node = node[text[index]]
            index += 1
            end = index if "" in node else end
        if end is not None:
            return start, end
    raise AssertionError("the token found at `found` is complete, so the loop returns there at the latest")


def _cut(text: str, offsets: Sequence[int]) -> list[str]:
    parts, start = [], 0
    for end in (*offsets, len(text)):
        if end > start:
            parts.append(text[start:end])
            start = end
    return parts
