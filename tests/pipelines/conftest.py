"""The shipped model's bundles as pipelines, tiny random ones that speak many languages, and the same models in transformers."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, MarianMTModel, MBartConfig, MBartForConditionalGeneration

import zen_edge
from zen_edge.exporters import export
from zen_edge.exporters.checkpoint import load_checkpoint
from zen_edge.runtimes.pipelines.text_to_text import TextToText

Rows = list[list[tuple[tuple[int, ...], float]]]


@pytest.fixture(scope="session")
def lines() -> list[str]:
    """655 lines of up to 18 words."""
    path = Path(__file__).parents[1] / "data" / "descriptions.test.en-fr.jsonl"
    return [json.loads(line)["source"] for line in path.read_text("utf-8").splitlines()]


@pytest.fixture(scope="session")
def pipeline(demo_fp32: Path) -> Iterator[TextToText]:
    with zen_edge.load(demo_fp32, threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def int8(demo_int8: Path) -> Iterator[TextToText]:
    with zen_edge.load(demo_int8, threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def of_transformers(demo_checkpoint: Path) -> Callable[..., Rows]:
    """of_transformers(lines, **options): per line the (tokens, score) of each sequence that `model.generate` returns for one padded batch."""
    checkpoint = load_checkpoint(demo_checkpoint)
    return lambda batch, **options: generated(checkpoint.model, checkpoint.tokenizer, batch, **options)


def generated(model: Any, tokenizer: Any, batch: list[str], **options: Any) -> Rows:
    """Tokens are all ids after the decoder's start, those of `decoder_input_ids` included; the score of greedy search is the mean over the others."""
    encoded = tokenizer(batch, return_tensors="pt", padding=True)
    with torch.no_grad():
        out = model.generate(**encoded, return_dict_in_generate=True, output_scores=True, **options)
    given = options["decoder_input_ids"].shape[1] - 1 if "decoder_input_ids" in options else 0
    end = options.get("eos_token_id", model.generation_config.eos_token_id)
    rows = []
    for i, row in enumerate(out.sequences[:, 1:].tolist()):
        tokens = tuple(row[: row.index(end, given) + 1] if end in row[given:] else row)
        if "sequences_scores" in out:
            score = out.sequences_scores[i].item()
        else:
            score = float(np.mean([out.scores[step][i].log_softmax(-1)[token].item() for step, token in enumerate(tokens[given:])]))
        rows.append((tokens, score))
    count = options.get("num_return_sequences", 1)
    return [rows[at : at + count] for at in range(0, len(rows), count)]


@dataclass(frozen=True)
class Tiny:
    """A random model, its tokenizer in transformers, and the bundle made of both."""

    model: Any
    tokenizer: Any
    pipeline: TextToText

    def of_transformers(self, batch: list[str], **options: Any) -> Rows:
        return generated(self.model, self.tokenizer, batch, **options)


SIZES = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
SIZES |= {"encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 128}
END_BIAS = 4.0  # so that lines end at different lengths


@pytest.fixture(scope="session")
def make_tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Tiny]:
    """make_tiny(build, model class, config class): a model whose weights are so large that it says different things, and the tokenizer that `build`
    makes in a folder or saves there."""

    def make(build: Callable[[Path], Any], model_class: Any, config_class: Any) -> Tiny:
        made, checkpoint, bundle = (tmp_path_factory.mktemp(f"{build.__name__}-{what}") for what in ("made", "checkpoint", "bundle"))
        (build(made) or AutoTokenizer.from_pretrained(made)).save_pretrained(checkpoint)
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        start = tokenizer.pad_token_id if model_class is MarianMTModel else tokenizer.eos_token_id
        special = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "decoder_start_token_id": start}
        model = model_class(config_class(**SIZES, **special, vocab_size=len(tokenizer), forced_eos_token_id=None))
        torch.manual_seed(4)
        with torch.no_grad():
            for name, weights in model.named_parameters():
                if weights.dim() > 1:
                    gain = 3.0 if "attn" in name else 2.0
                    weights.normal_(0, 0.5 if "embed" in name or "shared" in name else gain * weights.shape[1] ** -0.5)
            if hasattr(model, "final_logits_bias"):
                model.final_logits_bias[0, tokenizer.eos_token_id] = END_BIAS
        model.save_pretrained(checkpoint)
        model = model_class.from_pretrained(checkpoint)  # positions that follow from a formula are its own again
        return Tiny(model.eval(), tokenizer, zen_edge.load(export(checkpoint, bundle / "fp32", task="translation").path, threads=1))

    return make


@pytest.fixture(scope="session")
def kinds() -> dict[str, Any]:
    """The builders of tokenizers that tests/tokenization has."""
    rooms = (Path(__file__).parents[1] / "tokenization" / name for name in ("conftest.py", "kinds/conftest.py"))
    return {name: builder for room in rooms for name, builder in runpy.run_path(str(room), run_name="kinds").items()}


@pytest.fixture(scope="session")
def mbart50(make_tiny: Callable[..., Tiny], kinds: dict[str, Any]) -> Tiny:
    """556 words, 52 of them languages."""
    return make_tiny(kinds["mbart50"], MBartForConditionalGeneration, MBartConfig)
