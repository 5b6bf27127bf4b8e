"""Every family through its bundle, against transformers' `generate`: token for token in fp32, within bounds in int8."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from zen_edge.check_generated import margins_of
from zen_edge.exporters import export
from zen_edge.exporters.checkpoint import load_checkpoint
from zen_edge.exporters.fusions import beam_attention
from zen_edge.exporters.reference import Reference
from zen_edge.parity import compare_tokens
from zen_edge.runtimes import load
from zen_edge.runtimes.encoder_decoder import EncoderDecoder

from .conftest import DEFAULT, FAMILIES

LINES = [
    "library of functions for reading and writing image files in several formats",
    "tool",
    "graphical user interface for the network manager, with support for many languages",
    "Does it work without a network?",
    "simple text editor",
]
OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beam": {"num_beams": 4},
    "penalties": {"num_beams": 3, "length_penalty": 1.7, "no_repeat_ngram_size": 2},
    "early": {"num_beams": 2, "early_stopping": True, "repetition_penalty": 1.3, "min_new_tokens": 3},
}
NEW_TOKENS = 14


def every(name: str) -> Any:
    return pytest.param(name, marks=[] if name in DEFAULT else pytest.mark.sweep)


families = pytest.mark.parametrize("name", [every(name) for name in FAMILIES])


def of_transformers(exported: Any, lines: list[str], **options: Any) -> list[tuple[int, ...]]:
    batch = exported.tokenizer(lines, padding=True, return_tensors="pt")
    with torch.no_grad():
        rows = exported.model.generate(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, max_new_tokens=NEW_TOKENS, do_sample=False, **options
        )
    end = exported.model.generation_config.eos_token_id
    return [tuple(row[: row.index(end) + 1] if end in row else row) for row in rows[:, 1:].tolist()]


@families
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_tokens_in_padded_batches(export_family, name, options):
    exported = export_family(name)
    expected = of_transformers(exported, LINES, **options)
    with load(exported.bundle.path, threads=1) as pipeline:
        given = [found[0].tokens for found in pipeline.generate(LINES, max_new_tokens=NEW_TOKENS, **options)]
    reference = Reference(load_checkpoint(exported.checkpoint))
    rows = [reference.encode(line) for line in LINES]
    compared = compare_tokens(expected, given, margins_of(reference, rows, expected, given, whole=options.get("num_beams", 1) > 1))
    assert compared.first_divergence is None, (expected, given)
    assert compared.identical >= len(LINES) - 1
    assert len({token for row in given for token in row}) >= 5  # of five lines: no model that says one word whatever it reads


@families
@pytest.mark.parametrize("precision", ["fp32", pytest.param("int8", marks=pytest.mark.sweep)])
def test_logits_word_by_word(export_family, name, precision):
    """Through the runtime's own steps, forced along what PyTorch says, the rows padded beyond the longest."""
    exported = export_family(name, precision)
    batch = exported.tokenizer(LINES, padding="max_length", max_length=40, truncation=True, return_tensors="pt")
    said = of_transformers(exported, LINES)
    config = exported.model.generation_config
    rows = np.array([row + (config.pad_token_id,) * (NEW_TOKENS - len(row)) for row in said])
    words = np.concatenate([np.full((len(LINES), 1), config.decoder_start_token_id), rows[:, :-1]], axis=1)
    with torch.no_grad():
        out = exported.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, decoder_input_ids=torch.tensor(words), use_cache=False)
    decoder = EncoderDecoder(exported.bundle.path, exported.bundle.manifest, "cpu", 1)
    cache = decoder.encode(batch.input_ids.numpy(), batch.attention_mask.numpy())
    missed, lengths = [], []
    for step in range(NEW_TOKENS):
        scores, cache = decoder.step(words[:, step : step + 1], cache, top_k=1, log_sum_exp=False)
        live = [i for i, row in enumerate(said) if step < len(row)]
        expected = out.logits.numpy()[live, step]
        missed.append(np.linalg.norm(scores.logits()[live] - expected))
        lengths.append(np.linalg.norm(expected))
    if precision == "fp32":
        assert max(np.divide(missed, lengths)) < 5e-4
    else:  # of all words together: at a single one a draw of weights may turn a rounding into another choice of attention
        assert np.linalg.norm(missed) / np.linalg.norm(lengths) < exported.family.int8


@families
def test_every_attention_is_fused(export_family, name):
    exported = export_family(name)
    encoder, decoder = (exported.bundle.manifest.graph(graph) for graph in ("encoder", "decoder"))
    assert encoder.fused_attention >= 2
    assert decoder.fused_attention == 2 * len({tensor.name for tensor in decoder.inputs if tensor.name.startswith("past_key_")})
    assert (encoder.unfused_attention, decoder.unfused_attention) == (0, 0)
    assert "ReduceMean" not in decoder.ops
    assert exported.bundle.manifest.parity["passed"]


@pytest.mark.sweep
@families
def test_int8_quantizes_every_product_and_the_words(export_family, name):
    manifest = export_family(name, "int8").bundle.manifest
    for graph in ("encoder", "decoder"):
        ops = manifest.graph(graph).ops
        assert not {"MatMul", "FusedMatMul", "Gemm"} & ops.keys(), (graph, ops)
    assert manifest.graph("decoder").ops["MatMulIntegerToFloat"] >= 5
    sizes = {precision: (export_family(name, precision).bundle.path / "weights.bin").stat().st_size for precision in ("fp32", "int8")}
    assert sizes["int8"] < 0.5 * sizes["fp32"]


@pytest.mark.parametrize("name", [every("m2m_100"), every("bart"), every("bigbird_pegasus"), every("t5gemma"), every("encoder-decoder")])
def test_the_limits_are_the_last_lengths_that_work(export_family, name):
    exported = export_family(name)
    limits, model = exported.bundle.manifest.limits, exported.model
    word = model.generation_config.eos_token_id
    ids = np.full((1, limits["max_source_length"]), word)
    words = np.full((1, limits["max_target_length"]), word)
    with torch.no_grad():
        expected = model(input_ids=torch.tensor(ids), attention_mask=torch.ones(ids.shape), decoder_input_ids=torch.tensor(words), use_cache=False)
    decoder = EncoderDecoder(exported.bundle.path, exported.bundle.manifest, "cpu", 1)
    cache = decoder.encode(ids, np.ones_like(ids))
    _, cache = decoder.step(words[:, :-1], cache, top_k=1, log_sum_exp=False)
    scores, _ = decoder.step(words[:, -1:], cache, top_k=1, log_sum_exp=False)
    last = expected.logits[:, -1].numpy()
    assert np.abs(scores.logits() - last).max() < 1e-4 * np.abs(last).max()


@pytest.mark.parametrize("name", [every("t5-gated"), every("pegasus_x")])
def test_relative_and_computed_positions_have_no_limit(export_family, name, tmp_path: Path):
    exported = export_family(name)
    assert exported.bundle.manifest.limits.keys() == {"vocab_size"}
    line = " ".join(LINES * 6)
    expected = of_transformers(exported, [line, LINES[1]])
    with load(exported.bundle.path, threads=1) as pipeline:
        assert [found[0].tokens for found in pipeline.generate([line, LINES[1]], max_new_tokens=NEW_TOKENS)] == expected


def test_beams_over_long_inputs(write_family, tmp_path, monkeypatch):
    """Their attention has other operators, which models as small as these would not have."""
    monkeypatch.setattr(beam_attention, "NARROW", 1)
    monkeypatch.setattr(beam_attention, "WORTH", 100)
    folder, model = write_family("bart")
    bundle = export(folder, tmp_path / "out", task="translation")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    words = " ".join(LINES * 9).split()
    starts = {125: 0, 120: 3, 110: 7, 100: 11, 95: 13, 30: 17}  # by the number of tokens
    lines = [
        " ".join(words[start : max(n for n in range(start, len(words)) if len(tokenizer(" ".join(words[start:n])).input_ids) <= size)])
        for size, start in starts.items()
    ]
    said: set[int] = set()
    with load(bundle.path, threads=1) as pipeline:
        for num_beams in (1, 4):
            given = [found[0].tokens for found in pipeline.generate(lines, num_beams=num_beams, max_new_tokens=NEW_TOKENS)]
            assert given == of_transformers(SimpleNamespace(tokenizer=tokenizer, model=model), lines, num_beams=num_beams)
            said.update(token for tokens in given for token in tokens)
    assert len(said) > 5
