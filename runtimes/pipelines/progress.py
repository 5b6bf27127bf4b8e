"""`should_stop`: a look at what has been generated after each step, and a word that ends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding import SearchState


@dataclass(frozen=True)
class Progress:
    """What `should_stop` is shown.

    inputs: the places, in the list of inputs, of those that are decoded side by side. steps: how many there were. Each adds one token to each
    that is not done; with `prompt_lookup_num_tokens`, one or more. Of speech they are those of the windows that are being heard, for a model without a decoder its
    chunks; a recording in parts that are heard side by side comes once for each part, with what is said there.
    """

    inputs: tuple[int, ...]
    steps: int
    _best: Callable[[], list[tuple[int, ...]]] = field(repr=False)
    _decode: Callable[[Sequence[int]], str] = field(repr=False)

    def tokens(self) -> list[tuple[int, ...]]:
        """For each of `inputs` the tokens it would be answered with if all ended here."""
        return self._best()

    def texts(self) -> list[str]:
        return [self._decode(tokens) for tokens in self._best()]


ShouldStop = Callable[[Progress], object]


def check_should_stop(given: object) -> None:
    if given is not None and not callable(given):
        raise OptionError(f"should_stop must be a function of one argument, the progress so far, that returns whether to stop; not {given!r}.")


def sticky(should_stop: ShouldStop | None) -> tuple[ShouldStop | None, list[Progress]]:
    """`should_stop` for a text in parts, where the caller's word also ends the parts that have not begun; and where it was given, once it was."""
    if should_stop is None:
        return None, []
    stopped: list[Progress] = []

    def ask(progress: Progress) -> bool:
        if not stopped and should_stop(progress):
            stopped.append(progress)
        return bool(stopped)

    return ask, stopped


def asking(
    should_stop: ShouldStop | None, inputs: Sequence[int], starts: Sequence[tuple[int, ...]], decode: Callable[[Sequence[int]], str]
) -> Callable[[SearchState], bool]:
    """The question to ask after each step of one search, of `inputs` whose decoders began with `starts`: is it to end?"""
    if should_stop is None:
        return lambda state: False
    steps = count(1)

    def ask(state: SearchState) -> bool:
        def best() -> list[tuple[int, ...]]:
            return [start[1:] + one.tokens for start, (one, *_) in zip(starts, state.so_far(), strict=True)]

        return bool(should_stop(Progress(tuple(inputs), next(steps), best, decode)))

    return ask
