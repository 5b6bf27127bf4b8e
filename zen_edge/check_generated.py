"""The tokens that both sides generate, and how near the places are where they part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from zen_edge.errors import OptionError, ZenEdgeError
from zen_edge.inputs import Line
from zen_edge.parity import TextScore, TokenComparison, compare_texts, compare_tokens

if TYPE_CHECKING:
    from zen_edge.runtimes.pipelines.text_to_text import TextToText

Array = np.ndarray[Any, Any]
Tell = Callable[[str], None]
Tokens = list[tuple[int, ...]]
BEAMS = 4
PADDED_ROWS = 16  # lines that are padded to one length
CASES = tuple(
    (f"{search} {how}", beams, rows) for search, beams in (("greedy", 1), ("beam", BEAMS)) for how, rows in (("alone", 1), ("padded", PADDED_ROWS))
)
# The short check after an export: seconds of PyTorch for a model of 74 M parameters, not minutes.
VERIFY_CASES = (("greedy alone", 1, 1), ("beam padded", BEAMS, PADDED_ROWS))
VERIFY_LINES, VERIFY_TOKENS = 3, 12


class Generating(Protocol):
    """What PyTorch says, of a checkpoint or of modules of one's own."""

    @property
    def pad_token_id(self) -> int: ...

    def generate(self, ids: Array, mask: Array, num_beams: int, max_new_tokens: int | None) -> list[tuple[int, ...]]: ...

    def log_probabilities(self, ids: Sequence[int], tokens: Sequence[int]) -> Array: ...

    def decode(self, tokens: Sequence[int]) -> str: ...


def reference_tokens(
    reference: Generating, rows: Sequence[Sequence[int]], size: int, num_beams: int, max_new_tokens: int | None
) -> Iterator[tuple[int, ...]]:
    from zen_edge.runtimes.batching import pad

    for start in range(0, len(rows), size):
        ids, mask = pad(rows[start : start + size], reference.pad_token_id)
        yield from reference.generate(ids, mask, num_beams, max_new_tokens)


def bundle_tokens(
    pipeline: TextToText, sources: Sequence[str], size: int, num_beams: int, max_new_tokens: int | None, language: str | None, tell: Tell
) -> Iterator[tuple[int, ...]]:
    """No tokens where the bundle is so damaged that it cannot generate: the tensors tell more than its error."""
    options: dict[str, Any] = {} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}
    options |= {"target_lang": language} if language else {}
    for start in range(0, len(sources), size):
        some = sources[start : start + size]
        try:
            yield from [found[0].tokens for found in pipeline.generate(some, num_beams=num_beams, num_return_sequences=1, **options)]
        except OptionError:
            raise
        except ZenEdgeError as error:
            tell(f"the bundle gives no answer ({error})")
            yield from [()] * len(some)


def generated(
    pipeline: TextToText,
    reference: Generating,
    rows: Sequence[Sequence[int]],
    sources: Sequence[str],
    *,
    cases: Sequence[tuple[str, int, int]],
    max_new_tokens: int | None,
    tell: Tell,
    language: str | None = None,
) -> tuple[dict[str, TokenComparison], dict[str, tuple[Tokens, Tokens]]]:
    """rows: the ids of every source. cases: a name, beams, and how many are answered at once, each. -> by name what a comparison tells, and the tokens of the
    reference and the bundle."""
    compared, tokens = {}, {}
    for name, num_beams, size in cases:
        tell(f"generate, {name}")
        expected = list(reference_tokens(reference, rows, size, num_beams, max_new_tokens))
        given = list(bundle_tokens(pipeline, sources, size, num_beams, max_new_tokens, language, tell))
        margins = margins_of(reference, rows, expected, given, whole=num_beams > 1)
        compared[name] = compare_tokens(expected, given, margins, reference.decode)
        tokens[name] = expected, given
    return compared, tokens


def scored_texts(
    pipeline: TextToText, reference: Generating, lines: Sequence[Line], tokens: tuple[Tokens, Tokens], task: str, tell: Tell
) -> tuple[dict[str, TextScore], int]:
    """The text metrics of the lines that have a target, and how many those are. tokens: of the reference and the bundle, for every line."""
    scored = [i for i, line in enumerate(lines) if line.target is not None]
    if not scored:
        return {}, 0
    tell("compare texts")
    theirs, ours = ([decode(side[i]) for i in scored] for side, decode in zip(tokens, (reference.decode, pipeline.decode), strict=True))
    return compare_texts([str(lines[i].target) for i in scored], theirs, ours, task=task), len(scored)


def margins_of(
    reference: Generating, rows: Sequence[Sequence[int]], expected: list[tuple[int, ...]], given: list[tuple[int, ...]], *, whole: bool
) -> Callable[[int, int, int, int], float]:
    """How much more likely the reference finds its token than the bundle's, at the step where they part.

    A beam search chooses between whole sequences: there (`whole`) the difference of their total log-probabilities counts if it is smaller.
    """

    def margin(i: int, step: int, token: int, other: int) -> float:
        table = reference.log_probabilities(rows[i], expected[i])
        apart = float(table[step, token] - table[step, other])
        if not whole or len(expected[i]) != len(given[i]):
            return apart
        totals = [float(sum(reference.log_probabilities(rows[i], row)[np.arange(len(row)), list(row)])) for row in (expected[i], given[i])]
        return min(apart, totals[0] - totals[1], key=abs)

    return margin
