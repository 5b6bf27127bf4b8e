"""Text to ids and back without transformers: the same ids and the same text, proved at export.

    tokenizer = load_tokenizer(folder, manifest["tokenizer"])
    ids = tokenizer.encode("Hello world")    # the end token included, nothing truncated
    text = tokenizer.decode(generated_ids)

One file per kind, named after it, with a function `load(folder, settings)`: the folder is the registry. `load` may raise KeyError,
TypeError or ValueError over its settings; here they become a BundleError.
"""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol, cast

from zen_edge.errors import BundleError
from zen_edge.runtimes.tokenization.prefixes import with_prefixes

__all__ = ["Tokenizer", "load_tokenizer"]


class Tokenizer(Protocol):
    """What pipelines need of a tokenizer. Safe to share between threads."""

    @property
    def pad_token_id(self) -> int: ...

    @property
    def max_length(self) -> int | None:
        """The most ids that the model takes, or None where the tokenizer sets no limit."""

    @property
    def vocab_size(self) -> int:
        """Words of the source vocabulary, without tokens that were added beyond it (transformers' `vocab_size`)."""

    def encode(self, text: str, *, source_lang: str | None = None, target_lang: str | None = None) -> list[int]:
        """Ids of `text`, the end token included, nothing truncated.

        Raises OptionError for a language that the vocabulary does not have, InputError for text that is no Unicode (lone surrogates).
        """

    def encode_target(self, text: str) -> list[int]:
        """Ids of a target text, or of its beginning, with nothing before or after them. Raises InputError for text that is no Unicode."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids, special tokens left out. Raises InputError for an id that no vocabulary has."""

    def pieces(self, ids: Sequence[int], *, target: bool = False) -> list[str]:
        """Each id as one can read it, special tokens by their names; "▁" is a space. target: ids of a generated text, where its words are others."""

    def forced_bos_token_id(self, target_lang: str | None) -> int | None:
        """What generation must begin with to speak `target_lang` (None: the checkpoint's own), or None where nothing is forced.

        Raises OptionError for a language that the vocabulary does not have.
        """


def load_tokenizer(folder: Path, settings: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer whose files lie in `folder`; `settings` are what the exporter stored in the manifest under "tokenizer"."""
    kind = settings.get("kind")
    loader = _loader(kind) if isinstance(kind, str) else None
    if loader is None:
        kinds = [name for name in _modules() if _loader(name)]
        near = get_close_matches(str(kind), kinds, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise BundleError(
            f"unknown tokenizer kind {kind!r} in the manifest; this zen-edge knows {', '.join(kinds)}. {hint}"
            f"Update zen-edge, or add the kind in runtimes/tokenization/{kind}.py."
        )
    try:
        tokenizer = cast(Tokenizer, loader(folder, settings))
        return with_prefixes(tokenizer, str(settings.get("prefix", "")), dict(settings.get("prefixes", {})))
    except KeyError as error:
        raise BundleError(f"the tokenizer's settings in the manifest lack {error}: export the model again.") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise BundleError(
            f"the tokenizer's settings in the manifest or its vocabulary hold the wrong kind of value ({error}): export again."
        ) from error


def _modules() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def _loader(kind: str) -> Any:
    """The kind's `load`, or None; the name is looked up before it is imported, because a manifest may hold anything."""
    return getattr(importlib.import_module(f"{__name__}.{kind}"), "load", None) if kind in _modules() else None
