"""How a checkpoint of sentence-transformers makes one vector of a text: its module files, as settings for the manifest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from transformers.utils import cached_file

from zen_edge.errors import CheckpointError, UnsupportedModelError
from zen_edge.exporters.checkpoint import Checkpoint

# In the order in which the vectors of several stand.
MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
ACTIVATIONS = {"Identity": "identity", "Tanh": "tanh", "ReLU": "relu"}
DEFAULT_SETTINGS = "sentence_bert_config.json"
CASES = ("ABC Hello World", "ÉCOLE Straße ΑΒΓ Привет")  # which a tokenizer that lower-cases takes like their lower case


def embedding_head(checkpoint: Checkpoint, folder: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Writes the weights of dense layers into `folder`, and returns the rest: how tokens are pooled, what follows, prompts, and the most tokens of a text.

    A checkpoint without these files is pooled by the mean, as sentence-transformers does, which is told. Raises UnsupportedModelError for modules
    that are not exported, CheckpointError for files that are damaged.
    """
    modules = _json(checkpoint, "modules.json")
    if modules is None:
        tell("no modules.json of sentence-transformers: a text is the mean of its tokens, not normalized")
        return {"pooling": ["mean"], "include_prompt": True, "steps": [], "prompts": {}, "default_prompt": None}
    kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or not {*kinds[2:]} <= {"Dense", "Normalize", "Dropout"}:
        raise UnsupportedModelError(f"modules.json names {', '.join(kinds)}; exported are Transformer, Pooling, and then Dense and Normalize.")
    pooling = _json(checkpoint, f"{modules[1]['path']}/config.json") or {}
    steps = []
    for kind, module in zip(kinds[2:], modules[2:], strict=True):
        if kind == "Dense":
            steps.append(_dense(checkpoint, str(module["path"]), folder))
        elif kind == "Normalize":
            steps.append({"kind": "normalize"})
    asked = _json(checkpoint, "config_sentence_transformers.json") or {}
    return {
        "pooling": _modes(pooling),
        "include_prompt": bool(pooling.get("include_prompt", True)),
        "steps": steps,
        "prompts": {str(name): str(text) for name, text in (asked.get("prompts") or {}).items()},
        "default_prompt": asked.get("default_prompt_name"),
        **_most(checkpoint),
    }


def _modes(pooling: dict[str, Any]) -> list[str]:
    given = pooling.get("pooling_mode")
    modes = [given] if isinstance(given, str) else list(given or [mode for key, mode in MODES.items() if pooling.get(key)] or ["mean"])
    if unknown := [mode for mode in modes if mode not in MODES.values()]:
        raise UnsupportedModelError(f"pooling by {', '.join(map(str, unknown))} is not exported; there are {', '.join(MODES.values())}.")
    return modes


def _most(checkpoint: Checkpoint) -> dict[str, int]:
    """The most tokens of a text, where the checkpoint says so. UnsupportedModelError where it wants words that the tokenizer does not give."""
    settings = _json(checkpoint, DEFAULT_SETTINGS) or {}
    tokenizer = checkpoint.tokenizer
    if settings.get("do_lower_case") and any(tokenizer(line)["input_ids"] != tokenizer(line.lower())["input_ids"] for line in CASES):
        raise UnsupportedModelError(f"{DEFAULT_SETTINGS} asks for lower case, which the tokenizer does not make: put Lowercase into its normalizer.")
    most = settings.get("max_seq_length")
    return {} if most is None else {"max_length": int(most)}


def _dense(checkpoint: Checkpoint, path: str, folder: Path) -> dict[str, Any]:
    config = _json(checkpoint, f"{path}/config.json") or {}
    activation = str(config.get("activation_function", "Tanh")).rsplit(".", 1)[-1]
    odd = [name for name in ("module_input_name", "module_output_name") if config.get(name, "sentence_embedding") not in (None, "sentence_embedding")]
    if activation not in ACTIVATIONS or odd or config.get("use_residual"):
        raise UnsupportedModelError(f"the Dense module with {config} is not exported; exported is a layer with {', '.join(ACTIVATIONS)} after it.")
    weights = _weights(checkpoint, path)
    bias = weights.get("linear.bias", np.zeros(len(weights["linear.weight"]), np.float32))
    name = f"{Path(path).name}.npz"
    np.savez(folder / name, weight=weights["linear.weight"], bias=bias)
    return {"kind": "dense", "file": name, "activation": ACTIVATIONS[activation]}


def _weights(checkpoint: Checkpoint, path: str) -> dict[str, Any]:
    import torch
    from safetensors.torch import load_file

    safe = _file(checkpoint, f"{path}/model.safetensors")
    pickled = None if safe else _file(checkpoint, f"{path}/pytorch_model.bin")
    if safe is None and pickled is None:
        raise CheckpointError(f"the checkpoint has no weights of its Dense module in {path}.")
    tensors = load_file(safe) if safe else torch.load(pickled, map_location="cpu", weights_only=True)
    return {name: tensor.float().numpy() for name, tensor in tensors.items()}


def _file(checkpoint: Checkpoint, name: str) -> Path | None:
    if name.startswith("/") or ".." in Path(name).parts:
        raise CheckpointError(f"modules.json names {name!r}, which is outside of the checkpoint.")
    if checkpoint.folder is not None:
        path = checkpoint.folder / name
        return path if path.is_file() else None
    found = cached_file(checkpoint.name, name, revision=checkpoint.revision, _raise_exceptions_for_missing_entries=False)
    return None if found is None else Path(found)


def _json(checkpoint: Checkpoint, name: str) -> Any:
    """The file's content, None where there is none."""
    path = _file(checkpoint, name)
    if path is None:
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{name} of the checkpoint is not JSON: {error}.") from error
