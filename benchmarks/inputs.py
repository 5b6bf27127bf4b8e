"""What is translated: lines of a file, or made-up lines of an exact length."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from zen_edge.errors import InputError
from zen_edge.inputs import Line, read_questions
from zen_edge.manifest import read_manifest

DISTINCT = 64  # made-up lines
TRIES = 2000


@dataclass(frozen=True)
class Batch:
    """lines: their places among all lines, so that answers of several rounds can be put together."""

    lines: tuple[int, ...]
    texts: tuple[str, ...]


def batches(texts: Sequence[str], size: int) -> list[Batch]:
    """Every text at least once, in order; the last batch is filled up from the start."""
    return [
        Batch(lines, tuple(texts[i] for i in lines))
        for start in range(0, len(texts), size)
        if (lines := tuple(i % len(texts) for i in range(start, start + size)))
    ]


def fitting(lines: Sequence[Line], bundle: Path) -> tuple[Line, ...]:
    """The lines that the model has room for, blank ones left out."""
    encode, longest = _encoder(bundle)
    return tuple(line for line in lines if line.source.strip() and (longest is None or len(encode(line.source)) <= longest))


def questions(path: Path | None, limit: int | None) -> tuple[Line, ...]:
    """Those of a .jsonl file: the source is what engines are given, the target the right answers, both as JSON. InputError without one."""
    if path is None:
        raise InputError("answers are measured on questions: give --inputs FILE.jsonl with question, context and answers.")
    return tuple(
        Line(json.dumps({"question": one.question, "context": one.context}), json.dumps(one.answers) if one.answers else None)
        for one in read_questions(path, limit)
    )


def made_up(lines: Sequence[Line], bundle: Path, tokens: int, seed: int) -> tuple[Line, ...]:
    """Lines of exactly `tokens` tokens, the end token included, of words drawn at random from `lines`. InputError if none can be made."""
    encode, longest = _encoder(bundle)
    if longest is not None and tokens > longest:
        raise InputError(f"the model takes {longest} source tokens, fewer than {tokens}.")
    words = sorted({word for line in lines for word in re.findall("[A-Za-z]+", line.source)})
    rng = random.Random(seed)
    found = tuple(Line(text) for text in islice(_exact(words, tokens, encode, rng), DISTINCT))
    if not found:
        raise InputError(f"no text of exactly {tokens} tokens could be made of the words in the inputs: try another number or other inputs.")
    return found


def _exact(words: Sequence[str], tokens: int, encode: Callable[[str], list[int]], rng: random.Random) -> Iterator[str]:
    for _ in range(TRIES if words else 0):
        text = rng.choice(words)
        while len(encode(text)) < tokens:
            text = f"{text} {rng.choice(words)}"
        if len(encode(text)) == tokens:
            yield text


def _encoder(bundle: Path) -> tuple[Callable[[str], list[int]], int | None]:
    from zen_edge.runtimes.tokenization import load_tokenizer

    manifest = read_manifest(bundle)
    return load_tokenizer(bundle, manifest.tokenizer).encode, manifest.limits.get("max_source_length")
