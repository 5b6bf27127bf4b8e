"""Marian in every size and shape its configuration allows, from a saved checkpoint to the bundle's tokens, against transformers' `generate`."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, MarianMTModel

from zen_edge import quantize
from zen_edge.exporters import export
from zen_edge.manifest import Manifest
from zen_edge.runtimes import load
from zen_edge.runtimes.encoder_decoder import EncoderDecoder

pytestmark = pytest.mark.sweep

NEW_TOKENS = 16
LINES = (
    "tool",
    "graphical user interface for the network manager",
    "a",
    "library of functions for reading and writing image files in several formats",
    "documentation",
    "simple text editor",
)
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "untied": {"tie_word_embeddings": False, "activation_function": "gelu"},
    "two vocabularies": {"share_encoder_decoder_embeddings": False, "decoder_vocab_size": 3000, "activation_function": "relu"},
    "two vocabularies, untied": {"share_encoder_decoder_embeddings": False, "tie_word_embeddings": False, "decoder_vocab_size": 2999},
    "one layer": {"encoder_layers": 1, "decoder_layers": 1, "activation_function": "relu", "scale_embedding": False},
    "deep encoder": {"encoder_layers": 12, "decoder_layers": 1, "activation_function": "gelu"},
    "deep decoder": {"encoder_layers": 1, "decoder_layers": 7},
    "other heads": {"encoder_attention_heads": 2, "decoder_attention_heads": 8, "encoder_ffn_dim": 160, "decoder_ffn_dim": 48},
    "odd heads": {"d_model": 60, "encoder_attention_heads": 12, "decoder_attention_heads": 3, "vocab_size": 5003, "activation_function": "gelu_new"},
    "few positions": {"max_position_embeddings": NEW_TOKENS + 8, "encoder_layers": 3, "scale_embedding": False},
}
# One decoder layer over twelve of the encoder says one word a line whatever its weights; this rule has it say others.
OPTIONS = {"deep encoder": {"no_repeat_ngram_size": 2}}
FUSED_ACTIVATION = {"swish": "QuickGelu"}  # the others are one operator already


@dataclass(frozen=True)
class Variant:
    folder: Path
    model: MarianMTModel
    ids: torch.Tensor
    mask: torch.Tensor
    options: dict[str, Any]
    expected: dict[int, list[tuple[int, ...]]]  # by number of beams
    bundles: dict[str, Path]
    manifests: dict[str, Manifest]


def generated(model, ids, mask, **options: Any) -> list[tuple[int, ...]]:
    """transformers' tokens of each line, from after the decoder's start to the end token."""
    rows = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=NEW_TOKENS, do_sample=False, **options)[:, 1:].tolist()
    return [tuple(row[: row.index(0) + 1] if 0 in row else row) for row in rows]


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request, tiny_marian, save_tokenizer_of, tmp_path_factory):
    changes = VARIANTS[request.param]
    folder = tmp_path_factory.mktemp("variant")
    words = changes.get("vocab_size", 4104)
    save_tokenizer_of(folder, words, changes.get("decoder_vocab_size"))
    tiny_marian(**changes).config.save_pretrained(folder)
    batch = AutoTokenizer.from_pretrained(folder)(list(LINES), padding=True, return_tensors="pt")
    options = OPTIONS.get(request.param, {})
    for loudness, seed in product(("calm", "medium", "loud"), range(1, 9)):
        model = tiny_marian(seed, loudness, **changes)
        expected = {}
        for beams in (1, 4):
            rows = generated(model, batch.input_ids, batch.attention_mask, num_beams=beams, **options)
            if len({token for row in rows for token in row}) < 10:
                break
            expected[beams] = rows
        if len(expected) == 2:
            break
    else:
        pytest.fail("no weights give outputs of ten distinct tokens")
    model.save_pretrained(folder)
    exact = export(folder, folder.parent / f"{folder.name}-fp32")
    made = {"fp32": exact, "int8": quantize(exact.path, folder.parent / f"{folder.name}-int8", verify=False)}
    bundles, manifests = ({precision: getattr(bundle, what) for precision, bundle in made.items()} for what in ("path", "manifest"))
    return Variant(folder, model, batch.input_ids, batch.attention_mask, options, expected, bundles, manifests)


def log_probs(variant: Variant, line: int, tokens: tuple[int, ...]) -> np.ndarray:
    """(S,V) of the reference at every step on the way to `tokens`."""
    start = torch.tensor([[variant.model.config.decoder_start_token_id, *tokens[:-1]]])
    with torch.no_grad():
        logits = variant.model(input_ids=variant.ids[[line]], attention_mask=variant.mask[[line]], decoder_input_ids=start).logits
    return logits.log_softmax(-1)[0].numpy()


def margin(variant: Variant, line: int, num_beams: int, ours: tuple[int, ...], theirs: tuple[int, ...]) -> float:
    """How much less the reference likes `ours`: at the step where they part, or for beams the score of the whole."""
    if num_beams == 1:
        step = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b)
        scores = log_probs(variant, line, theirs)[step]
        return abs(float(scores[theirs[step]] - scores[ours[step]]))
    totals = [log_probs(variant, line, row)[np.arange(len(row)), row][: NEW_TOKENS - 1].sum() / len(row) for row in (ours, theirs)]
    return abs(float(totals[0] - totals[1]))


@pytest.mark.parametrize("num_beams", [1, 4])
def test_fp32_gives_transformers_tokens(variant, num_beams):
    pipeline = load(variant.bundles["fp32"], threads=2)
    found = [row[0].tokens for row in pipeline.generate(list(LINES), num_beams=num_beams, max_new_tokens=NEW_TOKENS, **variant.options)]
    for line, (ours, theirs) in enumerate(zip(found, variant.expected[num_beams], strict=True)):
        assert ours == theirs or margin(variant, line, num_beams, ours, theirs) < 1e-3, (line, ours, theirs)
    assert len({token for row in found for token in row}) >= 10


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("int8", 0.25)])
def test_logits_along_the_reference(variant, precision, bound):
    """Word by word through the runtime's own steps, forced along what the reference says."""
    rows = np.array([row + (0,) * (NEW_TOKENS - len(row)) for row in variant.expected[1]])
    words = np.concatenate([np.full((len(LINES), 1), variant.model.config.decoder_start_token_id), rows[:, :-1]], axis=1)
    with torch.no_grad():
        expected = variant.model(input_ids=variant.ids, attention_mask=variant.mask, decoder_input_ids=torch.tensor(words)).logits.numpy()
    decoder = EncoderDecoder(variant.bundles[precision], variant.manifests[precision], "cpu", 2)
    cache = decoder.encode(variant.ids.numpy(), variant.mask.numpy())
    for step in range(NEW_TOKENS):
        scores, cache = decoder.step(words[:, step : step + 1], cache, top_k=1, log_sum_exp=False)
        error = np.linalg.norm(scores.logits() - expected[:, step]) / np.linalg.norm(expected[:, step])
        assert error < bound, (step, error)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_everything_is_fused(variant, precision):
    config, manifest = variant.model.config, variant.manifests[precision]
    encoder, decoder = manifest.graph("encoder"), manifest.graph("decoder")
    assert (encoder.fused_attention, decoder.fused_attention) == (config.encoder_layers, 2 * config.decoder_layers)
    assert (encoder.unfused_attention, decoder.unfused_attention) == (0, 0)
    assert encoder.ops["LayerNormalization"] == 2 * config.encoder_layers
    assert decoder.ops["LayerNormalization"] == 3 * config.decoder_layers
    # The encoder: queries, keys and values, the output, the feed-forward layers, and keys and values for every decoder layer. A step: queries, keys and values in one; the head.
    shared, alone, packed = 3 * config.encoder_layers + 2 * config.decoder_layers, 3 * config.encoder_layers, 6 * config.decoder_layers + 1
    if precision == "int8":
        assert (encoder.ops["MatMulIntegerToFloat"], decoder.ops["MatMulIntegerToFloat"]) == (shared + alone, packed)
        assert encoder.ops["QuantizeLinear"] == alone + config.encoder_layers + 1
        assert not {"MatMul", "FusedMatMul"} & (encoder.ops.keys() | decoder.ops.keys())
    else:
        assert (encoder.ops["MatMul"], sum(decoder.ops.get(op, 0) for op in ("MatMul", "FusedMatMul"))) == (shared + alone, packed)
    if config.activation_function in FUSED_ACTIVATION:
        name = FUSED_ACTIVATION[config.activation_function]
        assert (encoder.ops[name], decoder.ops[name]) == (config.encoder_layers, config.decoder_layers)


def test_limits_are_told(variant):
    config, limits = variant.model.config, variant.manifests["fp32"].limits
    assert limits["vocab_size"] == (config.vocab_size if config.share_encoder_decoder_embeddings else config.decoder_vocab_size)
    assert (limits["max_source_length"], limits["max_target_length"]) == (config.max_position_embeddings,) * 2
