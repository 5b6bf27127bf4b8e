"""Labels of tokens as entities of a text: one for each token, or words and their neighbours of one label together, as transformers' pipeline does it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zen_edge.runtimes.pipelines.scores import Floats

Join = Callable[[Sequence[str]], str]
"""The text of tokens."""

STRATEGIES = ("none", "simple", "first", "average", "max")


@dataclass(frozen=True)
class Entity:
    """entity: the label; of a group without the B- or I- before it. start, end: characters of the text. index: of the token; None of a group."""

    entity: str
    score: float
    word: str
    start: int
    end: int
    index: int | None = None

    def to_json(self) -> dict[str, Any]:
        """With transformers' names."""
        named = {"entity_group": self.entity} if self.index is None else {"entity": self.entity, "index": self.index}
        return named | {"score": self.score, "word": self.word, "start": self.start, "end": self.end}


@dataclass(frozen=True)
class Token:
    """scores: of every label, (L). inside: whether it goes on with the word before it."""

    word: str
    scores: Floats
    start: int
    end: int
    index: int
    inside: bool


@dataclass(frozen=True)
class _Chosen:
    """A token or a word with its label. score: float32, as the means over several are taken."""

    entity: str
    score: np.float32
    word: str
    start: int
    end: int
    index: int | None


def entities(tokens: Sequence[Token], labels: Sequence[str], strategy: str, join: Join) -> list[Entity]:
    """Of one text or a part of it, those labelled "O" included."""
    if strategy in ("none", "simple"):
        chosen = [_of_token(token, labels) for token in tokens]
    else:
        chosen = [_of_word(word, labels, strategy, join) for word in _words(tokens)]
    if strategy == "none":
        return [Entity(one.entity, float(one.score), one.word, one.start, one.end, one.index) for one in chosen]
    return [_together(group, join) for group in _groups(chosen)]


def without_overlaps(found: Iterable[Entity]) -> list[Entity]:
    """Of the entities of overlapping parts: of two that begin one inside the other the longer, or of the same length the likelier."""
    kept: list[Entity] = []
    for entity in sorted(found, key=lambda entity: entity.start):
        if kept and kept[-1].start <= entity.start < kept[-1].end:
            kept[-1] = max(kept[-1], entity, key=lambda one: (one.end - one.start, one.score))
        else:
            kept.append(entity)
    return kept


def _of_token(token: Token, labels: Sequence[str]) -> _Chosen:
    best = int(token.scores.argmax())
    return _Chosen(labels[best], token.scores[best], token.word, token.start, token.end, token.index)


def _words(tokens: Sequence[Token]) -> list[list[Token]]:
    words: list[list[Token]] = []
    for token in tokens:
        if words and token.inside:
            words[-1].append(token)
        else:
            words.append([token])
    return words


def _of_word(word: Sequence[Token], labels: Sequence[str], strategy: str, join: Join) -> _Chosen:
    """first: as its first token is labelled. max: as the token that is surest. average: by the mean of the scores."""
    if strategy == "first":
        scores = word[0].scores
    elif strategy == "max":
        scores = max(word, key=lambda token: token.scores.max()).scores
    else:
        scores = np.nanmean(np.stack([token.scores for token in word]), axis=0)
    best = int(scores.argmax())
    return _Chosen(labels[best], scores[best], join([token.word for token in word]), word[0].start, word[-1].end, None)


def _groups(chosen: Sequence[_Chosen]) -> list[list[_Chosen]]:
    """Neighbours of one label, as long as none of them begins anew."""
    groups: list[list[_Chosen]] = []
    for one in chosen:
        begins, tag = _tag(one.entity)
        if groups and not begins and tag == _tag(groups[-1][-1].entity)[1]:
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def _tag(label: str) -> tuple[bool, str]:
    """Whether the label begins an entity, and of what kind."""
    return label.startswith("B-"), label[2:] if label.startswith(("B-", "I-")) else label


def _together(group: Sequence[_Chosen], join: Join) -> Entity:
    kind = group[0].entity.split("-", 1)[-1]
    score = float(np.nanmean([one.score for one in group]))
    return Entity(kind, score, join([one.word for one in group]), group[0].start, group[-1].end)
