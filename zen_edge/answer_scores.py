"""Answers against those that people gave, 0 to 100: exact match and F1 as SQuAD has them (Rajpurkar et al. 2016; 2018 for questions without an answer)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def answer_scores(answers: Sequence[str], given: Sequence[Sequence[str]]) -> dict[str, float]:
    """EM: how many of a hundred are one of the given answers, case, punctuation, articles and spaces left out. F1: how many words they have in common with the
    nearest. given: the right answers of each, at least one; an empty one says that there is none."""
    exact = [max(normalized(answer) == normalized(right) for right in rights) for answer, rights in zip(answers, given, strict=True)]
    common = [max(f1(answer, right) for right in rights) for answer, rights in zip(answers, given, strict=True)]
    return {"EM": 100 * sum(exact) / len(exact), "F1": 100 * sum(common) / len(common)}


def f1(answer: str, right: str) -> float:
    """Of the words of two answers, 0 to 1; 1 of two without any."""
    words, others = normalized(answer).split(), normalized(right).split()
    if not words or not others:
        return float(words == others)
    common = (Counter(words) & Counter(others)).total()
    return 2 * common / (len(words) + len(others))


def normalized(text: str) -> str:
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())
