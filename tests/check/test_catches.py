"""What parity is for: every kind of damage that exports and graph edits are known to do is caught, and bisect names where it begins."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from typer.testing import CliRunner

from zen_edge import InputError, check, check_tensors
from zen_edge.cli import app
from zen_edge.inputs import BUILT_IN
from zen_edge.manifest import read_manifest

LINES = BUILT_IN[1:4]  # of different lengths


def attentions(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    return [node for node in graph.node if node.op_type == "MultiHeadAttention"]


def normalizations(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    return [node for node in graph.node if node.op_type == "LayerNormalization"]


def no_padding_mask(graph: onnx.GraphProto) -> str:
    node = attentions(graph)[0]
    assert node.input[4]
    del node.input[4:]
    return node.output[0]


def no_cross_padding_mask(graph: onnx.GraphProto) -> str:
    node = next(node for node in attentions(graph) if len(node.input) > 4 and node.input[4])
    del node.input[4:]
    return node.output[0]


def wrong_scale(graph: onnx.GraphProto) -> str:
    node = attentions(graph)[-1]
    next(attribute for attribute in node.attribute if attribute.name == "scale").f *= 1.1
    return node.output[0]


def not_causal(graph: onnx.GraphProto) -> str:
    node = next(node for node in attentions(graph) if any(attribute.name == "unidirectional" for attribute in node.attribute))
    next(attribute for attribute in node.attribute if attribute.name == "unidirectional").i = 0
    return node.output[0]


def position_offset(graph: onnx.GraphProto) -> str:
    """1 is added to the positions that words are looked up at."""
    look_up = next(node for node in graph.node if node.op_type == "Gather" and "embed_positions" in node.input[0])
    graph.initializer.append(numpy_helper.from_array(np.array(1, np.int64), "one"))
    at = list(graph.node).index(look_up)
    graph.node.insert(at, helper.make_node("Add", [look_up.input[1], "one"], ["off_by_one"]))
    look_up.input[1] = "off_by_one"
    return look_up.output[0]


def forgotten_past(graph: onnx.GraphProto) -> str:
    """Positions count from 0 at every step: right at the first one, wrong at all later ones."""
    look_up = next(node for node in graph.node if node.op_type == "Gather" and "embed_positions" in node.input[0])
    add = next(node for node in graph.node if look_up.input[1] in node.output)
    look_up.input[1] = add.input[0]
    return look_up.output[0]


def no_final_bias(graph: onnx.GraphProto) -> str:
    node = normalizations(graph)[-1]
    node.input[2] = ""  # of the last normalization, the term that is added just before the scores
    return node.output[0]


def no_feed_forward_bias(graph: onnx.GraphProto) -> str:
    node = next(node for node in graph.node if node.op_type == "Add" and node.input[1].endswith("fc1.bias"))
    after = next(other for other in graph.node if node.output[0] in other.input)
    after.input[list(after.input).index(node.output[0])] = node.input[0]
    return after.output[0]


def swapped_keys_and_values(graph: onnx.GraphProto) -> str:
    node = next(node for node in attentions(graph) if node.input[1] == "cross_key_1")
    node.input[1], node.input[2] = node.input[2], node.input[1]
    return node.output[0]


EDITS: list[tuple[str, Callable[[onnx.GraphProto], str]]] = [
    ("encoder", no_padding_mask),
    ("encoder", wrong_scale),
    ("encoder", no_feed_forward_bias),
    ("encoder", position_offset),
    ("decoder", no_cross_padding_mask),
    ("decoder", wrong_scale),
    ("decoder", not_causal),
    ("decoder", position_offset),
    ("decoder", forgotten_past),
    ("decoder", no_final_bias),
    ("decoder", swapped_keys_and_values),
]


@pytest.mark.parametrize(("graph", "edit"), EDITS, ids=[f"{graph}-{edit.__name__}" for graph, edit in EDITS])
def test_damaged_graphs(graph, edit, edited, demo_fp32, checkpoint, reference):
    first: list[str] = []
    folder = edited(graph, lambda proto: first.append(edit(proto)))
    assert_caught(folder, f"{graph}.{first[0]}", demo_fp32, checkpoint, reference)


# A float set to 1: most are under 0.1. Both ends of the network, a table that both graphs share, and a bias.
WEIGHTS = [
    ("encoder", "val_60", 1234, "encoder", "val_61"),
    ("decoder", "val_182", 77, "decoder", "val_183"),
    ("decoder", "model.model.decoder.layers.1.fc1.bias", 3, "decoder", "linear_14"),
]


@pytest.mark.parametrize(("graph", "tensor", "index", "where", "first"), WEIGHTS, ids=[f"{graph}-{tensor}" for graph, tensor, *_ in WEIGHTS])
def test_damaged_weights(graph, tensor, index, where, first, reweighed, demo_fp32, checkpoint, reference):
    folder = reweighed(graph, tensor, index, 1.0)
    assert_caught(folder, f"{where}.{first}", demo_fp32, checkpoint, reference)


def assert_caught(folder: Path, first: str, fresh: Path, checkpoint, reference) -> None:
    manifest = read_manifest(folder, hashes=True)
    report = check.compare(folder, manifest, checkpoint, LINES, cases=check.VERIFY_CASES, max_new_tokens=10)
    assert not report.passed
    assert any(not output.passed for output in report.outputs)
    assert all(output.passed for output in report.outputs if first.startswith("decoder") and output.name.startswith("encoder"))
    rows = [reference.encode(line.source) for line in LINES]
    tokens = reference.generate(*check_tensors._padded(rows, reference, manifest), 1, 10)
    found = check_tensors.first_difference(fresh, folder, manifest, reference, rows, tokens)
    assert found is not None
    assert found.name == first


def test_a_damaged_reorder_graph(edited, checkpoint):
    def wrong_rows(graph: onnx.GraphProto) -> None:
        graph.node[0].input[0] = graph.node[1].input[0]  # values in the place of keys

    folder = edited("reorder", wrong_rows)
    report = check.compare(folder, read_manifest(folder), checkpoint, LINES, cases=check.VERIFY_CASES, max_new_tokens=10)
    assert [output.name for output in report.outputs if not output.passed] == ["reorder.moved"]
    assert not report.passed


def test_wrong_candidates(edited, checkpoint):
    def off_by_one(graph: onnx.GraphProto) -> None:
        last = next(node for node in graph.node if "top_ids" in node.output)
        last.output[0] = "nearly"
        one = numpy_helper.from_array(np.array(1, np.int64), "one")
        graph.initializer.append(one)
        graph.node.append(helper.make_node("Sub", ["nearly", "one"], ["top_ids"]))

    folder = edited("decoder", off_by_one)
    report = check.compare(folder, read_manifest(folder), checkpoint, LINES, cases=check.VERIFY_CASES, max_new_tokens=10)
    assert [output.name for output in report.outputs if not output.passed] == ["decoder.top_ids"]
    assert report.tokens.first_divergence is not None


def test_weights_that_are_no_numbers(reweighed, demo_fp32, checkpoint, reference):
    """The bundle cannot even generate; the report still says where it begins."""
    folder = reweighed("decoder", "val_182", 77, float("nan"))
    assert_caught(folder, "decoder.val_183", demo_fp32, checkpoint, reference)


def test_the_untouched_bundle_passes(bundle, demo_fp32, checkpoint, reference):
    manifest = read_manifest(bundle)
    report = check.compare(bundle, manifest, checkpoint, LINES, max_new_tokens=10)
    assert report.passed
    assert report.tokens.identical == report.tokens.total == 4 * len(LINES)
    rows = [reference.encode(line.source) for line in LINES]
    tokens = reference.generate(*check_tensors._padded(rows, reference, manifest), 1, 10)
    assert check_tensors.first_difference(demo_fp32, bundle, manifest, reference, rows, tokens) is None


def test_one_line_is_enough_to_see_a_dropped_mask(edited, checkpoint):
    """Nothing pads a line that is alone; the check does."""
    folder = edited("encoder", no_padding_mask)
    report = check.compare(folder, read_manifest(folder), checkpoint, BUILT_IN[:1], cases=check.VERIFY_CASES, max_new_tokens=4)
    assert not report.passed


def test_the_command_says_so_and_bisects(edited, demo_checkpoint, tmp_path: Path):
    folder = edited("encoder", wrong_scale)
    (tmp_path / "lines.txt").write_text("simple game\ntool for reading text files\n", encoding="utf-8")
    done = CliRunner().invoke(
        app,
        ["parity", str(folder), str(demo_checkpoint), "--inputs", str(tmp_path / "lines.txt"), "--bisect", "--report", str(tmp_path / "report.html")],
    )
    assert done.exit_code == 3
    assert "parity does not hold" in done.stdout
    assert "encoder.getitem_2" in done.stdout
    assert "encoder.getitem_2" in (tmp_path / "report.html").read_text("utf-8")
    stored = json.loads((folder / "zen-edge.json").read_text("utf-8"))["parity"]
    assert stored["passed"] is False
    assert stored["bisect"]["name"] == "encoder.getitem_2"


def test_int8_bundles_are_held_to_their_own_tolerance(demo_int8, checkpoint, tmp_path: Path):
    folder = Path(shutil.copytree(demo_int8, tmp_path / "bundle"))
    report = check.compare(folder, read_manifest(folder), checkpoint, LINES, max_new_tokens=10)
    assert report.passed
    assert max(output.max_rel for output in report.outputs) > report.tolerance.max_rel / 100


def test_lines_that_are_too_long_are_left_out_only_where_nobody_asked_for_them(checkpoint, bundle):
    manifest = read_manifest(bundle)
    small = replace(manifest, limits={**manifest.limits, "max_source_length": 6, "max_target_length": 8})
    report = check.compare(bundle, small, checkpoint, BUILT_IN, cases=check.VERIFY_CASES, only_fitting=True)
    assert 0 < report.tokens.total < 2 * len(BUILT_IN)
    with pytest.raises(InputError, match="the model takes 6"):
        check.compare(bundle, small, checkpoint, BUILT_IN, cases=check.VERIFY_CASES)
    none = replace(manifest, limits={**manifest.limits, "max_source_length": 1})
    with pytest.raises(InputError, match="--inputs"):
        check.compare(bundle, none, checkpoint, BUILT_IN, only_fitting=True)
