"""zen-edge inspect: the keys that others read, any graph, and what is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_json(zen, demo_int8, device):
    done = zen("inspect", demo_int8, "--json", "--device", device)
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert list(told) == ["task", "precision", "graphs"]
    assert (told["task"], told["precision"]) == ("translation", "int8")
    assert {graph["name"] for graph in told["graphs"]} >= {"encoder", "decoder"}
    for graph in told["graphs"]:
        assert list(graph) == ["name", "file", "bytes", "parameters", "ops", "fused_attention", "unfused_attention", "on_device"]
        keys = ["supported", "fallback", *(["sizes"] if device == "cuda" else []), *(["reasons"] if graph["on_device"]["fallback"] else [])]
        assert list(graph["on_device"]) == keys
        assert graph["unfused_attention"] == 0
        assert all(isinstance(count, int) for count in graph["ops"].values())
        assert bool(graph["on_device"]["fallback"]) == (device == "cuda" and graph["name"] != "reorder")
    assert {graph["name"]: graph["fused_attention"] for graph in told["graphs"]} == {"encoder": 3, "decoder": 4, "reorder": 0}


def test_tables_and_single_graphs(zen, demo_fp32):
    assert "MultiHeadAttention" in zen("inspect", demo_fp32).stdout
    told = json.loads(zen("inspect", demo_fp32 / "encoder.onnx", "--json").stdout)
    assert told["task"] is told["precision"] is None
    assert told["graphs"][0]["fused_attention"] == 3


def test_what_is_no_graph(zen, demo_fp32, tmp_path: Path):
    (tmp_path / "text.onnx").write_text("not a graph")
    (tmp_path / "empty.onnx").write_bytes(b"")
    for path in (tmp_path / "text.onnx", tmp_path / "empty.onnx", tmp_path / "missing.onnx", tmp_path, demo_fp32 / "vocab.json"):
        done = zen("inspect", path)
        assert done.exit_code == 3
        assert done.stdout == ""
        assert done.stderr.startswith("zen-edge: ")
        assert done.stderr.count("\n") == 1
    assert zen("inspect", demo_fp32, "--device", "tpu").exit_code == 1
