"""A transformers tokenizer as files and settings that the runtime reads without transformers, and the proof that both agree.

One file per kind, named as the runtime's, with `CLASS`, a class of transformers, and `save(tokenizer, folder)`: the folder is the registry.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zen_edge.errors import UnsupportedModelError
from zen_edge.exporters.tokenization.proof import HARD_LINES, SURROGATES, prove_tokenizer, prove_windows

__all__ = ["HARD_LINES", "SURROGATES", "prove_tokenizer", "prove_windows", "save_tokenizer", "task_prefixes"]


def save_tokenizer(tokenizer: Any, folder: Path, prefix: str = "", prefixes: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Writes the tokenizer's files into `folder` and returns the settings for the manifest's "tokenizer".

    `prefix` will stand before every text; `prefixes` are those that a language pair chooses, "en_to_fr" to its text (see `task_prefixes`).
    Raises UnsupportedModelError for a tokenizer that no kind here can save, or an option that the runtime does not honour.
    """
    kinds = _kinds()
    kind = next((kinds[of.__name__] for of in type(tokenizer).__mro__ if of.__name__ in kinds), None)  # the nearest: Marian before its base
    if kind is None:
        raise UnsupportedModelError(
            f"the tokenizer is a {type(tokenizer).__name__}; supported are all of the `tokenizers` library (a TokenizersBackend: save it as "
            f"tokenizer.json), and {', '.join(sorted(kinds.keys() - {'TokenizersBackend'}))}. To add it: a file in exporters/tokenization/ that "
            "saves it and one of the same name in runtimes/tokenization/ that reads it."
        )
    if tokenizer.pad_token_id is None:
        raise UnsupportedModelError(f"the {type(tokenizer).__name__} has no pad_token: set one in its tokenizer_config.json.")
    folder.mkdir(parents=True, exist_ok=True)
    chosen = {"prefix": prefix} if prefix else {}
    return {**kind(tokenizer, folder), **chosen, **({"prefixes": dict(prefixes)} if prefixes else {})}


def task_prefixes(config: Any, task: str) -> tuple[str, dict[str, str]]:
    """What a T5-style checkpoint wants before its texts: `prefix` and `prefixes` for `save_tokenizer`, from its `task_specific_params`.

    An entry named after the task is the prefix ("summarization"). Of entries for language pairs ("translation_en_to_fr") a single one is the
    prefix too; of several none is, because nothing says which: `target_lang` chooses at run time.
    """
    params = getattr(config, "task_specific_params", None) or {}
    named = {name: entry["prefix"] for name, entry in params.items() if isinstance(entry, Mapping) and entry.get("prefix")}
    pairs = {name.removeprefix(f"{task}_"): prefix for name, prefix in named.items() if name.startswith(f"{task}_") and "_to_" in name}
    return named.get(task, next(iter(pairs.values())) if len(pairs) == 1 else ""), pairs


def _kinds() -> dict[str, Callable[[Any, Path], dict[str, Any]]]:
    modules = (importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__))
    return {module.CLASS: module.save for module in modules if hasattr(module, "CLASS")}
