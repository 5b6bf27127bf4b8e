"""`decoder_prefix`: the target so far, which generation goes on from as transformers' `generate(decoder_input_ids=...)` does.

A text is encoded as a target, and stands behind what the target must begin with (`forced_bos_token_id`, the code of `target_lang`). Token ids are taken
as they are; only a language that was asked for comes before them, unless they begin with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zen_edge.errors import InputError, OptionError
from zen_edge.runtimes.decoding import GenerationOptions
from zen_edge.runtimes.decoding.checks import check_in_vocabulary, token_ids

NAME = "decoder_prefix"
Prefix = str | tuple[int, ...]


def decoder_starts(
    given: object, count: int, generation: GenerationOptions, language: int | None, encode: Callable[[str], list[int]], vocab_size: int
) -> list[tuple[int, ...]]:
    """The decoder's first ids for each of `count` inputs, its start token first.

    given: the option as the caller has it. language: the id of the `target_lang` that was asked for, unless the decoder's start is one itself. encode:
    a text to ids of the target, nothing around them. Raises OptionError.
    """
    starts: dict[Prefix, tuple[int, ...]] = {}
    prefixes = _of_each(given, count)
    for prefix in dict.fromkeys(prefixes):
        ids = _encoded(prefix, encode) if isinstance(prefix, str) else prefix
        check_in_vocabulary(NAME, ids, vocab_size)
        start = (generation.start_token_id,)
        if isinstance(prefix, str):
            begin = _forced(generation) if ids else ()
        else:
            begin = () if language is None or not ids else (language,)
            ids = ids[ids[:1] == start :]  # as in transformers, a start token that is there already is no second one
        starts[prefix] = (*start, *(() if ids[:1] == begin else begin), *ids)
    return [starts[prefix] for prefix in prefixes]


def _of_each(given: object, count: int) -> list[Prefix]:
    """One prefix for each input, empty where there is none."""
    if given is None or isinstance(given, str):
        return [given or ()] * count
    if not isinstance(given, Sequence) or isinstance(given, bytes | bytearray):
        raise OptionError(f"{NAME} must be a text, a list of token ids, or a list of either with one for each input, not {given!r}.")
    if not any(one is None or isinstance(one, str | Sequence) for one in given):
        return [token_ids(NAME, given)] * count
    if len(given) != count:
        raise OptionError(f"{NAME} is a list of {len(given)} for {count} inputs: give one for each, or one text for all.")
    for one in given:
        if one is not None and not isinstance(one, str | Sequence):
            raise OptionError(f"{NAME} holds {one!r} where a text or a list of token ids should stand, one for each input.")
    return [one if isinstance(one, str) and one else token_ids(NAME, one or ()) for one in given]


def _encoded(prefix: str, encode: Callable[[str], list[int]]) -> tuple[int, ...]:
    try:
        return tuple(encode(prefix))
    except InputError as error:
        raise OptionError(f"{NAME}: {error}") from None


def _forced(generation: GenerationOptions) -> tuple[int, ...]:
    forced = token_ids("forced_bos_token_id", generation.as_dict()["forced_bos_token_id"])
    if len(forced) > 1:
        raise OptionError(f"forced_bos_token_id={list(forced)} leaves open which of them stands before {NAME}: give one id, or {NAME} as token ids.")
    return forced
