"""Checks of option values; each answers with one sentence that says what was given and what was expected."""

from collections.abc import Sequence
from math import isfinite

from zen_edge.errors import OptionError


def check_whole(name: str, value: object, least: int) -> None:
    """Raises OptionError unless `value` is a whole number of at least `least`."""
    if not _is_whole(value) or value < least:  # type: ignore[operator] # a whole number by the first half
        raise OptionError(f"{name} must be a whole number of at least {least}, not {value!r}.")


def check_most(name: str, value: int, most: int, reason: str) -> None:
    """Raises OptionError for a number beyond what is sensible."""
    if value > most:
        raise OptionError(f"{name} is {value}, and the most is {most}: {reason}.")


def check_number(name: str, value: object) -> None:
    """Raises OptionError unless `value` is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise OptionError(f"{name} must be a number, not {value!r}.")


def token_ids(name: str, value: object) -> tuple[int, ...]:
    """One token id, a list of them or None, as a tuple. Raises OptionError for anything else."""
    ids = (value,) if _is_whole(value) else () if value is None else value
    if not isinstance(ids, Sequence) or isinstance(ids, str | bytes) or not all(_is_whole(token) for token in ids):
        raise OptionError(f"{name} must be a token id or a list of token ids, not {value!r}.")
    return tuple(ids)


def check_in_vocabulary(name: str, ids: Sequence[int], vocab_size: int) -> None:
    """Raises OptionError when an id is not one the model can produce."""
    if outside := [token for token in ids if not 0 <= token < vocab_size]:
        raise OptionError(f"{name} names {outside}, but the model's token ids go from 0 to {vocab_size - 1}.")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
