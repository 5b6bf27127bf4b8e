"""Tiny checkpoints of every family, with a tokenizer of their kind trained on the spot, exported once."""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from transformers import AutoTokenizer, ByT5Tokenizer

from zen_edge import check, quantize
from zen_edge.benchmarks.tiny import write_tiny
from zen_edge.bundle import Bundle
from zen_edge.exporters import export


@dataclass(frozen=True)
class Family:
    """model_type, its kind of tokenizer, and what its configuration says, ids as words of the tokenizer. int8: how far its logits may be from PyTorch's, of their length; the random
    weights of some amplify every rounding: with them float32 is 1e-4 from float64 in PyTorch itself, where it is 1e-6 with the others'. The gated T5 and mT5 say 21
    different words in the draw that asks for 20; where rounding makes them 19, the next draw is taken, which is 0.23 off in place of 0.08."""

    model_type: str
    tokenizer: str | None = None  # of whole words
    config: dict[str, Any] | None = None
    int8: float = 0.2


FAMILIES = {
    "bart": Family("bart", "bart", {"forced_bos_token_id": 0}),
    "t5-gated": Family("t5", "t5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}, int8=0.3),
    "m2m_100": Family("m2m_100", "m2m_100", int8=0.45),
    "nllb": Family("m2m_100", "nllb", int8=0.55),
    "t5": Family("t5", "t5", {"num_decoder_layers": 1}),
    "mt5": Family("mt5", "t5", int8=0.3),
    "umt5": Family("umt5", "umt5"),
    "byt5": Family("t5", "byt5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "mbart": Family("mbart", "mbart", {"decoder_start_token_id": "ro_RO"}),  # its tokenizer's tgt_lang, as with the published ones
    "mbart50": Family("mbart", "mbart50"),
    "pegasus": Family("pegasus", "pegasus"),
    "pegasus_x": Family("pegasus_x", "pegasus", {"encoder_layers": 3}, int8=0.65),
    "blenderbot": Family("blenderbot", "blenderbot"),
    "blenderbot-small": Family("blenderbot-small", "blenderbot_small"),
    "plbart": Family("plbart", "plbart"),
    "mvp": Family("mvp", "bart"),
    "fsmt": Family("fsmt", "fsmt", {"eos_token_id": "</s>", "decoder_start_token_id": "</s>"}),
    "bigbird_pegasus": Family("bigbird_pegasus", "pegasus", int8=0.45),
    "t5gemma": Family(
        "t5gemma", None, {"attn_logit_softcapping": None, "sliding_window": 24, "query_pre_attn_scalar": 8}, int8=0.45
    ),  # two key/value heads for four
    "encoder-decoder": Family("encoder-decoder"),
    "bart-untied": Family("bart", "bart", {"tie_word_embeddings": False, "activation_function": "relu", "decoder_layers": 1, "d_model": 48}),
}
DEFAULT = ("bart", "t5-gated", "m2m_100")  # one trace of a family each; the others are a sweep


@dataclass(frozen=True)
class Exported:
    family: Family
    checkpoint: Path
    model: Any
    tokenizer: Any
    bundle: Bundle


@pytest.fixture(scope="session")
def kinds() -> ModuleType:
    """The builders of tokenizers that tests/tokenization/kinds has."""
    path = Path(__file__).parents[2] / "tokenization" / "kinds" / "conftest.py"
    spec = importlib.util.spec_from_file_location("kinds_of_tokenizers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def write_family(kinds: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Any]]:
    """write_family(name) -> a checkpoint's folder and its model, which says twenty different words."""

    def write(name: str) -> tuple[Path, Any]:
        family, folder = FAMILIES[name], tmp_path_factory.mktemp(name)
        tokenizer = None
        if family.tokenizer == "byt5":
            tokenizer = ByT5Tokenizer()
        elif family.tokenizer is not None:
            made = tmp_path_factory.mktemp(f"{name}-tokenizer")
            getattr(kinds, family.tokenizer)(made).save_pretrained(made)
            tokenizer = AutoTokenizer.from_pretrained(made)
        changes = {
            name: tokenizer.convert_tokens_to_ids(value) if name.endswith("_token_id") and isinstance(value, str) else value
            for name, value in (family.config or {}).items()
        }
        return folder, write_tiny(folder, family.model_type, tokenizer, **changes)

    return write


@pytest.fixture(scope="session")
def export_family(write_family: Callable[[str], tuple[Path, Any]]) -> Callable[..., Exported]:
    """export_family(name, precision): the bundle, in fp32 checked against PyTorch on the way, in others quantized from that. Each once."""
    exported: dict[tuple[str, str], Exported] = {}

    def make(name: str, precision: str = "fp32") -> Exported:
        if (name, precision) not in exported:
            if precision == "fp32":
                folder, model = write_family(name)
                bundle = export(folder, folder.parent / f"{folder.name}-fp32", task="translation", verify=check.verify)
                made = Exported(FAMILIES[name], folder, model, AutoTokenizer.from_pretrained(folder), bundle)
            else:
                exact = make(name)
                # Its tolerance is for trained weights; what these amplify is held by the tests' own bounds.
                out = exact.checkpoint.parent / f"{exact.checkpoint.name}-{precision}"
                made = replace(exact, bundle=quantize(exact.bundle.path, out, precision=precision, verify=False))
            exported[name, precision] = made
        return exported[name, precision]

    return make
