"""Text to ids and back without transformers: the same ids and the same text, proved at export.

    tokenizer = load_tokenizer(folder, manifest["tokenizer"])
    ids = tokenizer.encode("Hello world")    # the end token included, nothing truncated
    text = tokenizer.decode(generated_ids)

One file per kind, named after it, with a function `load(folder, settings)`: the folder is the registry.
"""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol, cast

from zen_edge.errors import BundleError

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

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids, special tokens left out. Raises InputError for an id that no vocabulary has."""


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
    return cast(Tokenizer, loader(folder, settings))


def _modules() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def _loader(kind: str) -> Any:
    """The kind's `load`, or None; the name is looked up before it is imported, because a manifest may hold anything."""
    return getattr(importlib.import_module(f"{__name__}.{kind}"), "load", None) if kind in _modules() else None
