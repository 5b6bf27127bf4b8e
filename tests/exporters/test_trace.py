"""The traced graphs against PyTorch, at sizes other than those they were traced with."""

import copy
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from zen_edge.errors import UnsupportedModelError
from zen_edge.exporters.attention import NAME, fused, fused_attention, fused_mask
from zen_edge.exporters.fusions import fuse
from zen_edge.exporters.limits import Limits
from zen_edge.exporters.trace import DecoderSizes, trace_decoder, trace_encoder

LAYERS, HEADS, HEAD, WORDS = 2, 4, 16, 4104
CROSS, PAST, PRESENT = ([f"{kind}_{part}_{i}" for i in range(LAYERS) for part in ("key", "value")] for kind in ("cross", "past", "present"))
TOLERANCE = {"traced": 1e-4, "fused": 1e-4}  # of logits around +-10 and keys around +-5


@dataclass(frozen=True)
class Graphs:
    encoder: onnxruntime.InferenceSession
    decoder: onnxruntime.InferenceSession
    tolerance: float


@pytest.fixture(scope="module")
def model(tiny_marian):
    made = tiny_marian()
    with torch.no_grad():
        made.final_logits_bias.normal_()
    return made


@pytest.fixture(scope="module")
def traced(model):
    sizes = DecoderSizes.of(model)
    assert sizes == DecoderSizes(LAYERS, HEADS, HEAD, 64)
    limits = Limits.of(model)
    return {"encoder": trace_encoder(model, sizes, limits), "decoder": trace_decoder(model, sizes, limits)}


@pytest.fixture(scope="module")
def fused_graphs(traced):
    graphs = {name: ir.from_proto(ir.to_proto(graph)) for name, graph in traced.items()}
    for graph in graphs.values():
        fuse(graph)
        onnx.checker.check_model(ir.to_proto(graph))
    return graphs


@pytest.fixture(scope="module", params=["traced", "fused"])
def graphs(request, traced, fused_graphs):
    chosen = traced if request.param == "traced" else fused_graphs
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = {name: onnxruntime.InferenceSession(ir.to_proto(graph).SerializeToString(), options) for name, graph in chosen.items()}
    return Graphs(**sessions, tolerance=TOLERANCE[request.param])


# Against PyTorch


def inputs(batch: int, length: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """ids and mask (B,T); rows of different lengths, the first one full."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, WORDS - 1, (batch, length), generator=generator)
    lengths = torch.tensor([max(1, length - 3 * row) for row in range(batch)])
    mask = (torch.arange(length)[None] < lengths[:, None]).long()
    return ids * mask + (WORDS - 1) * (1 - mask), mask


def reference(model, ids, mask, words, past):
    """PyTorch, eagerly: `past` words (R,P) into the cache, then the logits of `words` (R,S). -> logits, past, cross and present, by name."""
    beams = len(words) // len(ids)
    with torch.no_grad():
        states = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state.repeat_interleave(beams, 0)
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        shared = {"encoder_outputs": (states,), "attention_mask": mask.repeat_interleave(beams, 0), "past_key_values": cache, "use_cache": True}
        if past.shape[1]:
            model(decoder_input_ids=past, **shared)
        before = copy.deepcopy(cache.self_attention_cache)
        logits = model(decoder_input_ids=words, **shared).logits
    empty = torch.zeros(len(words), HEADS, 0, HEAD)
    pasts = [x for layer in before.layers for x in (layer.keys, layer.values)] if past.shape[1] else [empty] * (2 * LAYERS)
    presents = [x for layer in cache.self_attention_cache.layers for x in (layer.keys, layer.values)]
    crosses = [x[::beams] for layer in cache.cross_attention_cache.layers for x in (layer.keys, layer.values)]
    named = zip([*PAST, *CROSS, *PRESENT], [*pasts, *crosses, *presents], strict=True)
    return logits.numpy(), {name: np.ascontiguousarray(x.numpy()) for name, x in named}


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (1, 9), (2, 7), (3, 12), (6, 100)])
def test_the_encoder_gives_pytorchs_cross_keys_and_values(model, graphs, batch, length):
    ids, mask = inputs(batch, length)
    start = torch.full((batch, 1), WORDS - 1)
    _, states = reference(model, ids, mask, start, start[:, :0])
    found = graphs.encoder.run(CROSS, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    for name, ours in zip(CROSS, found, strict=True):
        assert ours.shape == (batch, HEADS, length, HEAD)
        assert np.abs(ours - states[name]).max() < graphs.tolerance, name


@pytest.mark.parametrize(
    ("batch", "beams", "past", "steps", "length"),
    [
        (1, 1, 0, 1, 1),
        (1, 1, 0, 4, 9),
        (1, 4, 0, 1, 9),
        (1, 2, 3, 1, 9),
        (3, 1, 0, 1, 12),
        (3, 1, 5, 1, 12),
        (3, 1, 5, 4, 12),
        (3, 2, 5, 1, 12),
        (2, 2, 0, 4, 5),
        (2, 4, 1, 1, 30),
        (3, 4, 11, 4, 12),
        (2, 3, 7, 2, 7),
        (1, 1, 100, 1, 3),
    ],
)
def test_the_decoder_gives_pytorchs_logits_and_keys(model, graphs, batch, beams, past, steps, length):
    ids, mask = inputs(batch, length, seed=past)
    words = torch.randint(0, WORDS, (batch * beams, past + steps), generator=torch.Generator().manual_seed(9))
    expected, states = reference(model, ids, mask, words[:, past:], words[:, :past])
    feeds = {"input_ids": words[:, past:].numpy(), "attention_mask": mask.numpy()} | {name: states[name] for name in (*CROSS, *PAST)}
    feeds |= {"top_k": np.array([5]), "want_log_sum_exp": np.array(True)} if len(graphs.decoder.get_inputs()) > len(feeds) else {}
    logits, *present = graphs.decoder.run(["logits", *PRESENT], feeds)
    assert logits.shape == (batch * beams, steps, WORDS)
    assert np.std(expected) > 1
    assert np.abs(logits - expected).max() < graphs.tolerance
    assert batch * beams * steps == 1 or np.abs(expected - expected.mean((0, 1))).max() > 1  # every row and step says something else
    for name, ours in zip(PRESENT, present, strict=True):
        assert ours.shape == (batch * beams, HEADS, past + steps, HEAD)
        assert np.abs(ours - states[name]).max() < graphs.tolerance, name


def test_what_is_padded_changes_nothing(graphs):
    """Whatever stands there: the keys and values of the real words are the same, and so are the logits."""
    ids, mask = inputs(3, 12)
    rubbish = torch.where(mask.bool(), ids, 77)
    first, second = (graphs.encoder.run(CROSS, {"input_ids": x.numpy(), "attention_mask": mask.numpy()}) for x in (ids, rubbish))
    for a, b in zip(first, second, strict=True):
        seen = np.broadcast_to(mask.numpy()[:, None, :, None].astype(bool), a.shape)
        assert np.array_equal(a[seen], b[seen])


# Names, axes, operators


def shape(value) -> list[str]:
    return [str(size) for size in value.shape]


def test_names_and_axes_of_the_encoder(traced, fused_graphs):
    for graph in (traced["encoder"].graph, fused_graphs["encoder"].graph):
        assert {value.name: shape(value) for value in graph.inputs} == {"input_ids": ["B", "T"], "attention_mask": ["B", "T"]}
        assert {value.name: shape(value) for value in graph.outputs} == {name: ["B", str(HEADS), "T", str(HEAD)] for name in CROSS}
        assert [value.name for value in graph.outputs] == CROSS


def test_names_and_axes_of_the_decoder(traced, fused_graphs):
    given = {"input_ids": ["R", "S"], "attention_mask": ["B", "T"]}
    given |= {name: ["B", str(HEADS), "T", str(HEAD)] for name in CROSS} | {name: ["R", str(HEADS), "P", str(HEAD)] for name in PAST}
    made = {"logits": ["R", "S", str(WORDS)]} | {name: ["R", str(HEADS), "P+S", str(HEAD)] for name in PRESENT}
    graph = traced["decoder"].graph
    assert {value.name: shape(value) for value in graph.inputs} == given
    assert {value.name: shape(value) for value in graph.outputs} == made
    graph = fused_graphs["decoder"].graph
    assert {value.name: shape(value) for value in graph.inputs} == given | {"top_k": ["1"], "want_log_sum_exp": []}
    candidates = {"top_scores": ["R", "S", "K"], "top_ids": ["R", "S", "K"], "log_sum_exp": ["R", "S"]}
    assert {value.name: shape(value) for value in graph.outputs} == made | candidates


def count(model: ir.Model, op: str) -> int:
    return sum(node.op_type == op for node in model.graph)


def test_every_attention_is_fused(traced, fused_graphs):
    for graphs in (traced, fused_graphs):
        assert {name: count(graph, "MultiHeadAttention") for name, graph in graphs.items()} == {"encoder": LAYERS, "decoder": 2 * LAYERS}
    assert {name: count(graph, "Softmax") for name, graph in traced.items()} == {"encoder": 0, "decoder": 0}
    causal = [node.attributes.get_int("unidirectional", 0) for node in fused_graphs["decoder"].graph if node.op_type == "MultiHeadAttention"]
    assert causal == [1, 0] * LAYERS
    assert not any("unidirectional" in node.attributes for node in fused_graphs["encoder"].graph)


def test_nothing_else_is_left_to_fuse(fused_graphs):
    """In a step one product for queries, keys and values; no reshape between attention and projections."""
    encoder, decoder = fused_graphs["encoder"], fused_graphs["decoder"]
    assert count(encoder, "MatMul") == 6 * LAYERS + 2 * LAYERS  # and keys and values for every layer of the decoder
    assert (count(decoder, "MatMul"), count(decoder, "FusedMatMul")) == (6 * LAYERS, 1)
    assert [count(graph, "LayerNormalization") for graph in (encoder, decoder)] == [2 * LAYERS, 3 * LAYERS]
    assert [count(graph, "QuickGelu") for graph in (encoder, decoder)] == [LAYERS, LAYERS]
    assert [count(graph, "Transpose") for graph in (encoder, decoder)] == [2 * LAYERS, 0]  # cross keys and values, heads first
    assert [count(graph, "Concat") for graph in (encoder, decoder)] == [1, 1]  # one shape; the operator joins its past itself


# Refusals


def states(heads: int = 4, length: int = 3) -> torch.Tensor:
    return torch.zeros(2, heads, length, 8)


@pytest.mark.parametrize("keyword", ["softcap", "sliding_window", "s_aux", "head_mask", "is_cross", "anything"])
def test_an_unknown_keyword_is_refused(keyword):
    with pytest.raises(UnsupportedModelError, match=f"Module asks its attention for {keyword}, which"):
        fused_attention(torch.nn.Module(), states(), states(), states(), None, **{keyword: 0})


def test_all_unknown_keywords_are_named_and_none_passes(model):
    with pytest.raises(UnsupportedModelError, match="for one, two, which"):
        fused_attention(torch.nn.Module(), states(), states(), states(), None, two=2, one=False, three=None, dropout=0.0)


def test_key_and_value_heads_that_do_not_divide_the_query_heads_are_refused():
    with pytest.raises(UnsupportedModelError, match="3 key/value heads"):
        fused_attention(torch.nn.Module(), states(), states(3), states(3), None)


def window(batch_idx, head_idx, q_idx, kv_idx):
    return kv_idx > q_idx - 2


def test_an_unknown_mask_function_is_refused():
    with pytest.raises(UnsupportedModelError, match="masks attention with 'window'"):
        fused_mask(2, 3, 3, mask_function=window, use_vmap=True)


@pytest.mark.parametrize("refuse", [False, True])
def test_a_model_has_its_attention_back_after_tracing(model, refuse):
    before = [part.config._attn_implementation for part in (model, model.get_encoder(), model.get_decoder())]
    assert NAME not in before
    ids, mask = inputs(2, 5)
    first = model(input_ids=ids, attention_mask=mask, decoder_input_ids=ids).logits
    if refuse:
        with pytest.raises(ZeroDivisionError), fused(model):
            assert model.config._attn_implementation == NAME
            raise ZeroDivisionError
    else:
        with fused(model):
            assert model.config._attn_implementation == NAME
    assert [part.config._attn_implementation for part in (model, model.get_encoder(), model.get_decoder())] == before
    assert torch.equal(model(input_ids=ids, attention_mask=mask, decoder_input_ids=ids).logits, first)
