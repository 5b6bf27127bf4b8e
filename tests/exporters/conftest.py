"""Tiny Marian models with random weights whose outputs say something, and checkpoints of them with a real tokenizer."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
import torch
from transformers import MarianConfig, MarianMTModel

WORDS = 4104  # enough for candidates to be taken by chunks

# Standard deviations of embeddings, of projections and of what attention scores are made from, the latter two over the root of their inputs. Loud
# models say more different words; calm ones do not blow rounding errors up.
LOUDNESS = {"calm": (0.3, 1.0, 1.5), "medium": (1.0, 1.0, 1.5), "loud": (1.0, 1.5, 3.0)}


@pytest.fixture(scope="session")
def tiny_marian() -> Callable[..., MarianMTModel]:
    """tiny_marian(seed, loudness, **config): a model with random weights and biases, so large that it does not repeat one word."""

    def make(seed: int = 1, loudness: str = "loud", **changes: Any) -> MarianMTModel:
        sizes = {"d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
        sizes |= {"encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "vocab_size": WORDS, "max_position_embeddings": 128}
        sizes |= {"activation_function": "swish", "scale_embedding": True} | changes
        pad = sizes.get("decoder_vocab_size", sizes["vocab_size"]) - 1
        special = {"pad_token_id": pad, "decoder_start_token_id": pad, "eos_token_id": 0, "forced_eos_token_id": 0, "bos_token_id": 0}
        torch.manual_seed(seed)
        embedding, projection, scores = LOUDNESS[loudness]
        model = MarianMTModel(MarianConfig(**(special | sizes)))
        with torch.no_grad():
            for name, weights in model.named_parameters():
                if "embed_positions" in name:
                    continue
                if "layer_norm.weight" in name:
                    weights.uniform_(0.5, 1.5)
                elif weights.dim() == 1:
                    weights.normal_(0, 0.1)
                elif "shared" in name or "embed_tokens" in name or "lm_head" in name:
                    weights.normal_(0, embedding)
                else:
                    gain = scores if "q_proj" in name or "k_proj" in name else projection
                    weights.normal_(0, gain * weights.shape[1] ** -0.5)
        model.generation_config.bad_words_ids = [[pad]]
        return model.eval()

    return make


@pytest.fixture(scope="session")
def save_tokenizer_of(demo_checkpoint: Path) -> Callable[..., None]:
    """save_tokenizer_of(folder, words, target_words): the shipped tokenizer cut down to so many words; with `target_words`, one vocabulary a side."""

    def save(folder: Path, words: int = WORDS, target_words: int | None = None) -> None:
        for name in ("source.spm", "target.spm"):
            copyfile(demo_checkpoint / name, folder / name)
        known = sorted((id, word) for word, id in json.loads((demo_checkpoint / "vocab.json").read_text("utf-8")).items() if word != "<pad>")
        settings = json.loads((demo_checkpoint / "tokenizer_config.json").read_text("utf-8"))
        sides = {"vocab.json": words} | ({"target_vocab.json": target_words} if target_words else {})
        for name, size in sides.items():
            pad = (target_words or words) - 1  # padding has one id on both sides
            vocab = {word: id for id, word in known if id < size and id != pad} | {"<pad>": pad}
            (folder / name).write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"separate_vocabs": target_words is not None}), encoding="utf-8")

    return save
