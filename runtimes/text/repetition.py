"""Outputs that go round in circles: "the cat and the cat and the cat and the ...".

Two signs, each weighed against the source, for a text that repeats itself is rightly translated into one that does:
- a run of tokens that comes back to back many times over ("ha ha ha ha" is short of many, unless the source has it too);
- an output that zlib packs much smaller than its source (loops with small changes).
"""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LONGEST_PERIOD = 64  # tokens: two sentences, or one where tokens are bytes
LEAST_REPEATS = 4
LEAST_COVERED = 12  # tokens in the loop
PACKED = 2.4  # bytes per packed byte: prose of a few hundred bytes is below 2
PACKED_CUT_OFF = 2.1  # where the length limit ended the output, which it does to loops
LEAST_BYTES = 200  # shorter texts pack by chance
BYTES_PER_WORD_PIECE = 1.5  # below, tokens are bytes or characters


def is_degenerate(tokens: Sequence[int], text: str, source_ids: Sequence[int], source: str, *, cut_off: bool) -> bool:
    """Whether an output repeats itself at least twice as much as its source. cut_off: the length limit ended it."""
    repeats = most_repeats(np.asarray(tokens, np.int64), LEAST_REPEATS, LEAST_COVERED)
    if repeats and repeats >= 2 * _of_source(source_ids, source):
        return True
    packed = _packed(text) if len(text.encode("utf-8", "replace")) >= LEAST_BYTES else 0
    return packed >= (PACKED_CUT_OFF if cut_off else PACKED) and packed >= 1.5 * _packed(source)


def guard_size(source_ids: Sequence[int], source: str) -> int:
    """The no_repeat_ngram_size of a second try: three or four words, so that a name may come twice; as many letters where tokens are bytes."""
    return 6 if len(source.encode("utf-8", "replace")) >= BYTES_PER_WORD_PIECE * len(source_ids) else 24


def most_repeats(items: NDArray[np.int64], least_repeats: float, least_covered: int) -> float:
    """How often the most repeated run of at most LONGEST_PERIOD items comes back to back; 0 where none comes `least_repeats` times
    or where it covers fewer than `least_covered` items in all."""
    most = 0.0
    for period in range(1, min(LONGEST_PERIOD, int(len(items) / least_repeats)) + 1):
        breaks = np.flatnonzero(items[period:] != items[:-period])
        edges = np.concatenate(([-1], breaks, [len(items) - period]))
        covered = int(np.diff(edges).max()) - 1 + period
        if covered >= max(least_covered, least_repeats * period):
            most = max(most, covered / period)
    return most


def _of_source(ids: Sequence[int], text: str) -> float:
    """How often the source repeats a run of tokens or of characters, 1 for hardly ever."""
    characters = np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32).astype(np.int64)
    return max(1.0, most_repeats(np.asarray(ids, np.int64), 2, 4), most_repeats(characters, 2, 6))


def _packed(text: str) -> float:
    data = text.encode("utf-8", "replace")
    return len(data) / len(zlib.compress(data))
