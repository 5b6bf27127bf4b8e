"""Sizes and settings that no published checkpoint has together, drawn at random: each exported, and its words held against `generate`."""

import random
from typing import Any

import pytest
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from zen_edge import check
from zen_edge.benchmarks.tiny import tiny_model, tiny_tokenizer, write_tiny
from zen_edge.exporters import export
from zen_edge.runtimes import load

pytestmark = pytest.mark.sweep

HEADS = ((3, 24), (3, 36), (5, 60), (2, 28), (4, 40))  # heads, width: head sizes of 8 to 14


def drawn(seed: int) -> tuple[str, dict[str, Any]]:
    """A model type and what its configuration says."""
    rng = random.Random(seed)
    heads, width = rng.choice(HEADS)
    common: dict[str, Any] = {"vocab_size": rng.choice((320, 323, 331)), "tie_word_embeddings": rng.random() < 0.5}
    if seed % 3 == 0:
        kind = rng.choice(("relu", "gated-gelu", "gated-silu"))
        layers = {"num_layers": rng.randint(1, 3), "num_decoder_layers": rng.randint(1, 3)}
        return "t5", {
            **common,
            **layers,
            "num_heads": heads,
            "d_model": width,
            "d_kv": rng.choice((6, 10, 16)),
            "d_ff": 50,
            "feed_forward_proj": kind,
        }
    model_type = rng.choice(("bart", "mbart", "pegasus", "m2m_100", "marian", "blenderbot", "plbart"))
    changes = {
        **common,
        "d_model": width,
        "encoder_layers": rng.randint(1, 3),
        "decoder_layers": rng.randint(1, 3),
        "encoder_attention_heads": heads,
        "decoder_attention_heads": rng.choice([each for each in (1, 2, 3, 4, 5) if width % each == 0]),
        "encoder_ffn_dim": 50,
        "decoder_ffn_dim": 30,
        "activation_function": rng.choice(("relu", "gelu", "gelu_new", "silu", "gelu_fast", "tanh")),
        "scale_embedding": rng.random() < 0.5,
        "encoder_layerdrop": 0.5,
        "decoder_layerdrop": 0.5,
        "max_position_embeddings": rng.choice((60, 128)),
        "forced_bos_token_id": rng.choice((None, 7)),
    }
    return model_type, changes


@pytest.mark.parametrize("seed", range(9))
def test_a_bundle_says_what_generate_says(seed, tmp_path):
    model_type, changes = drawn(seed)
    write_tiny(tmp_path / "checkpoint", model_type, **changes)
    bundle = export(tmp_path / "checkpoint", tmp_path / "bundle", task="translation", verify=check.verify)  # raises where they part
    assert bundle.manifest.parity["passed"]
    assert bundle.manifest.limits["vocab_size"] == changes["vocab_size"]
    for graph in ("encoder", "decoder"):
        assert bundle.manifest.graph(graph).unfused_attention == 0


def test_a_decoder_deeper_than_its_encoder(tmp_path):
    """T5's own `generate` makes a cache of as many layers as the encoder has, and fails where the decoder has more; with one that grows it does not."""
    changes = {"num_layers": 1, "num_decoder_layers": 3, "feed_forward_proj": "relu", "tie_word_embeddings": False}
    model, tokenizer = tiny_model("t5", 1, 3.0, **changes), tiny_tokenizer()
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "checkpoint")
    bundle = export(tmp_path / "checkpoint", tmp_path / "bundle", task="translation", verify=check.verify)
    assert bundle.manifest.parity["passed"]
    batch = tokenizer(["simple text editor for the terminal"], return_tensors="pt")
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    (expected,) = model.generate(**batch, past_key_values=cache, do_sample=False)[:, 1:].tolist()
    ((found,),) = load(bundle.path, threads=1).generate(["simple text editor for the terminal"])
    assert list(found.tokens) == expected
    assert len(set(expected)) > 4
