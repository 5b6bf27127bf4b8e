"""Byte-pair merges: the parts of a word, joined pair by pair, the pair that was learnt first before the others."""

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from zen_edge.errors import BundleError

END = "</w>"  # stands at the end of a word's last part

Ranks = Mapping[tuple[str, ...], int]


def merged(word: str, ranks: Ranks) -> list[str]:
    """The parts of a word of one character or more."""
    parts = [*word[:-1], f"{word[-1]}{END}"]
    while len(parts) > 1:
        best = min(pairwise(parts), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        joined, i = [], 0
        while i < len(parts):
            pair = i + 1 < len(parts) and (parts[i], parts[i + 1]) == best
            joined.append("".join(best) if pair else parts[i])
            i += 2 if pair else 1
        parts = joined
    return parts


def read_merges(path: Path) -> Ranks:
    """Pairs to their place in the file, the best first."""
    try:
        return {tuple(pair): rank for rank, pair in enumerate(json.loads(path.read_bytes()))}
    except (OSError, ValueError, TypeError) as error:
        raise BundleError(f"cannot read the merges {path}: {error}") from error
