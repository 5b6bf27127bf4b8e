"""Writes checkpoints of real sizes with random weights: what they say is noise, how fast they say it is not.

python -m zen_edge.benchmarks.make_checkpoint OUT [--shape marian-74m]
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from zen_edge.demo import shipped_model

PAD = 58100
# As OPUS-MT publishes them: 74 M parameters.
SHAPES: dict[str, dict[str, Any]] = {
    "marian-74m": {
        "vocab_size": PAD + 1,
        "d_model": 512,
        "encoder_layers": 6,
        "decoder_layers": 6,
        "encoder_ffn_dim": 2048,
        "decoder_ffn_dim": 2048,
        "encoder_attention_heads": 8,
        "decoder_attention_heads": 8,
        "activation_function": "swish",
        "scale_embedding": True,
        "static_position_embeddings": True,
        "max_position_embeddings": 512,
        "pad_token_id": PAD,
        "eos_token_id": 0,
        "bos_token_id": 0,
        "decoder_start_token_id": PAD,
        "forced_eos_token_id": 0,
    }
}


def write(out: Path, shape: str = "marian-74m", seed: int = 0) -> None:
    """A Marian checkpoint in Hugging Face layout, with the shipped model's tokenizer; words up to the vocabulary's size are made up."""
    import torch
    from transformers import MarianConfig, MarianMTModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    config = MarianConfig(**SHAPES[shape])
    torch.manual_seed(seed)
    MarianMTModel(config).eval().save_pretrained(out)
    shipped = shipped_model()
    words = json.loads((shipped / "vocab.json").read_text(encoding="utf-8"))
    words = {word: id for word, id in words.items() if word != "<pad>"}
    words |= {f"▁w{id}": id for id in range(len(words), config.pad_token_id)} | {"<pad>": config.pad_token_id}
    (out / "vocab.json").write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
    for name in ("source.spm", "target.spm"):
        shutil.copy(shipped / name, out)
    settings = json.loads((shipped / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["model_max_length"] = config.max_position_embeddings
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a checkpoint of a real size with random weights.")
    parser.add_argument("out", type=Path, help="a folder")
    parser.add_argument("--shape", choices=SHAPES, default="marian-74m")
    given = parser.parse_args()
    write(given.out, given.shape)
