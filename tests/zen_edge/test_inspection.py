"""Inspection tells what a file or a bundle holds, and what a device has no kernel for."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from rich.console import Console

from zen_edge import graphs
from zen_edge.errors import BundleError, MissingDependencyError, OptionError
from zen_edge.inspection import describe_graph, inspect_bundle, inspect_graph, print_inspection
from zen_edge.manifest import NodeKind, Tensor, read_manifest, write_manifest

from .small_graphs import MS, WEIGHT, attention, branch, function, node, save


def test_signature_and_node_kinds(tmp_path: Path) -> None:
    nodes = [
        node("Cast", ["q"], ["h"], to=TensorProto.FLOAT16),
        node("MultiHeadAttention", ["h", "h", "h", "", "", ""], ["a"], domain=MS, num_heads=2),
        node("Shape", ["a"], ["n"]),
        node("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
        node("Add", ["f", "f"], ["out"]),
    ]
    found = describe_graph(save(tmp_path / "g.onnx", nodes), "decoder")
    assert found.name == "decoder" and found.file == "g.onnx" and found.size == (tmp_path / "g.onnx").stat().st_size
    assert found.inputs[0] == Tensor("q", "float32", ("B", "N", "S", 8)) and found.inputs[4] == Tensor("yes", "bool", ())
    assert found.outputs == (Tensor("out", "float32", ("...",)),)
    assert found.nodes == (
        NodeKind("Add", 14, ("float32", "float32"), ("float32",), 1),
        NodeKind("Cast", 21, ("float32",), ("float16",), 1),
        NodeKind("Cast", 21, ("int64",), ("float32",), 1),
        NodeKind("Shape", 21, ("float16",), ("int64",), 1, sizes=1),
        NodeKind(f"{MS}::MultiHeadAttention", 1, ("float16", "float16", "float16"), ("float16",), 1),
    )


def test_dtypes_reach_into_functions_and_branches(tmp_path: Path) -> None:
    nodes = [
        node("Cast", ["q"], ["h"], to=TensorProto.FLOAT16),
        node("F", ["h"], ["a"], domain="local"),
        node(
            "If",
            ["yes"],
            ["out"],
            then_branch=branch("t", [node("Relu", ["a"], ["x"])], "x"),
            else_branch=branch("e", [node("Abs", ["a"], ["x"])], "x"),
        ),
    ]
    found = describe_graph(save(tmp_path / "g.onnx", nodes, functions=[function("F", ["x"], [node("Neg", ["x"], ["y"])], ["y"])]), "g")
    kinds = {kind.op: (kind.inputs, kind.outputs) for kind in found.nodes}
    assert all(kinds[op][0] == ("float16",) for op in ("Neg", "Relu", "Abs"))
    assert kinds["Neg"][1] == ("float16",)


def test_parameters_count_shared_external_tensors_once(tmp_path: Path) -> None:
    big = np.arange(4096, dtype=np.float32).reshape(64, 64)
    path = save(
        tmp_path / "g.onnx", [node("MatMul", ["q", "W"], ["out"])], {"W": big, "V": big, "bias": np.ones(8, np.float32)},
        save_as_external_data=True, location="g.data", size_threshold=1024,
    )  # fmt: skip
    assert describe_graph(path, "g").parameters == 2 * 4096 + 8
    model = onnx.load(path, load_external_data=False)
    place = {tensor.name: tensor for tensor in model.graph.initializer}
    del place["V"].external_data[:]
    place["V"].external_data.extend(place["W"].external_data)
    onnx.save(model, path)
    found = describe_graph(path, "g")
    assert found.parameters == 4096 + 8
    assert found.size == path.stat().st_size + 4096 * 4 < path.stat().st_size + (tmp_path / "g.data").stat().st_size


@pytest.mark.parametrize("location", ["../g.data", "/etc/passwd", "absent.data", "", "a\nb", "g.onnx/x"])
def test_external_data_elsewhere_is_refused(tmp_path: Path, location: str) -> None:
    path = save(tmp_path / "g.onnx", [node("MatMul", ["q", "W"], ["out"])], WEIGHT, save_as_external_data=True, location="g.data", size_threshold=0)
    (tmp_path.parent / "g.data").write_bytes(b"x" * 1000)
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = location
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BundleError) as caught:
        describe_graph(path, "g")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("size", [0, 255])
def test_external_data_cut_short_is_refused(tmp_path: Path, size: int) -> None:
    path = save(tmp_path / "g.onnx", [node("MatMul", ["q", "W"], ["out"])], WEIGHT, save_as_external_data=True, location="g.data", size_threshold=0)
    os.truncate(tmp_path / "g.data", size)
    with pytest.raises(BundleError, match="too short"):
        describe_graph(path, "g")


def test_functions_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "MOST_NODES", 5000)
    call = [node("MatMul", ["q", "k"], ["out"]), node("F0", [], [], domain="local")]
    endless = [function("F0", [], [node("F0", [], [], domain="local")], [])]
    doubling = [function(f"F{i}", [], [node(f"F{i + 1}", [], [], domain="local")] * 2, []) for i in range(40)]
    for functions, message in ((endless, "nested too deeply"), (doubling, "more than")):
        with pytest.raises(BundleError, match=message):
            describe_graph(save(tmp_path / "g.onnx", call, functions=functions), "g")


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    sound = save(tmp_path / "g.onnx", attention()).read_bytes()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "text.json").write_text("{}")
    (tmp_path / "cut").write_bytes(sound[: len(sound) // 2])
    (tmp_path / "empty").touch()
    for name in ("fifo", "text.json", "cut", "empty", "absent", "."):
        with pytest.raises(BundleError) as caught:
            inspect_graph(tmp_path / name)
        assert str(caught.value).isprintable()


def test_missing_onnx_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "g.onnx", attention())
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "zen-edge\[export\]"'):
        inspect_graph(path)


def test_a_bundle_is_inspected_by_its_manifest(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    row = {
        "name": "encoder", "file": "encoder.onnx", "bytes": 500, "parameters": 1234,
        "ops": {"DynamicQuantizeMatMul": 3, "MatMul": 4, "MultiHeadAttention": 2}, "fused_attention": 2, "unfused_attention": 0,
    }  # fmt: skip
    cpu, cuda = inspect_bundle(bundle, "cpu"), inspect_bundle(bundle, "cuda")
    assert cpu == {"task": "translation", "precision": "int8", "graphs": [{**row, "on_device": {"supported": 9, "fallback": {}}}]}
    assert cuda["graphs"][0]["on_device"] == {
        "supported": 6, "fallback": {"DynamicQuantizeMatMul": 3}, "sizes": 0,
        "reasons": [
            {"op": f"{MS}::DynamicQuantizeMatMul", "version": 1, "inputs": ["float32", "int8", "float32"], "count": 3, "reason": "no kernel at all"}
        ],
    }  # fmt: skip
    assert json.loads(json.dumps(cpu)) == cpu
    with pytest.raises(OptionError, match="cpu, cuda"):
        inspect_bundle(bundle, "tpu")
    manifest = read_manifest(bundle)
    write_manifest(bundle, replace(manifest, recorded=(replace(manifest.graphs[0], name="step"),)))
    assert inspect_bundle(bundle, "cuda")["graphs"] == [cuda["graphs"][0], {**cuda["graphs"][0], "name": "step"}]


HALF = [node("Cast", ["q"], ["h"], to=TensorProto.FLOAT16)]
FALLBACK: dict[str, tuple[list[onnx.NodeProto], str, dict[str, int]]] = {
    "MultiHeadAttention in fp16 has no CPU kernel": ([*HALF, node("MultiHeadAttention", ["h", "h", "h"], ["out"], domain=MS)], "cpu", {"MultiHeadAttention": 1}),
    "and has one for CUDA": ([*HALF, node("MultiHeadAttention", ["h", "h", "h"], ["out"], domain=MS)], "cuda", {}),
    "GroupQueryAttention in fp32 has no CUDA kernel": ([node("GroupQueryAttention", ["q", "k", "v"], ["out"], domain=MS)], "cuda", {"GroupQueryAttention": 1}),
    "and has one for CPU": ([node("GroupQueryAttention", ["q", "k", "v"], ["out"], domain=MS)], "cpu", {}),
    "packed attention is for CUDA": ([node("PackedMultiHeadAttention", ["q", "k", "v"], ["out"], domain=MS)], "cpu", {"PackedMultiHeadAttention": 1}),
    "relative bias is for CUDA": ([node("RelativePositionBias", ["q"], ["out"], domain=MS)], "cpu", {"RelativePositionBias": 1}),
    "dynamic int8 is for CPU": ([node("MatMulIntegerToFloat", ["yes", "yes"], ["out"], domain=MS)], "cuda", {"MatMulIntegerToFloat": 1}),
    "Attention of ONNX in fp16": ([*HALF, node("Attention", ["h", "h", "h"], ["out"])], "cpu", {}),
    "Attention of com.microsoft is another operator": ([node("Attention", ["q", "k"], ["out"], domain=MS)], "cpu", {}),
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "device", "fallback"), FALLBACK.values(), ids=FALLBACK)
def test_missing_kernels_are_told(tmp_path: Path, nodes: list[onnx.NodeProto], device: str, fallback: dict[str, int]) -> None:
    found = inspect_graph(save(tmp_path / "g.onnx", nodes), device)
    assert found["task"] is None and found["precision"] is None
    on_device = found["graphs"][0]["on_device"]
    assert (on_device["supported"], on_device["fallback"]) == (len(nodes) - sum(fallback.values()), fallback)
    assert sum(row["count"] for row in on_device.get("reasons", ())) == sum(fallback.values())


SIZES = [
    node("Shape", ["q"], ["s"]),
    node("Gather", ["s", "axis"], ["n"]),
    node("Range", ["zero", "n", "one"], ["places"]),
    node("Less", ["places", "n"], ["inside"]),
    node("Cast", ["places"], ["f"], to=TensorProto.FLOAT),
    node("Sin", ["f"], ["wave"]),
    node("Mul", ["wave", "q"], ["out"]),
]


def test_counting_with_sizes_is_told_apart(tmp_path: Path) -> None:
    """Shape, Gather, Range and Less give numbers of sizes alone; from Cast on it is arithmetic of the model."""
    numbers = {"axis": np.array(0), "zero": np.array(0), "one": np.array(1)}
    path = save(tmp_path / "g.onnx", SIZES, numbers)
    cuda, cpu = (inspect_graph(path, device)["graphs"][0]["on_device"] for device in ("cuda", "cpu"))
    assert cuda == {"supported": 3, "fallback": {}, "sizes": 4}
    assert cpu == {"supported": 7, "fallback": {}}


def test_printed_inspection_is_safe_and_whole(bundle: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    found = inspect_bundle(bundle, "cuda")
    found["graphs"][0]["ops"]["[red]\x1b[2J"] = 1
    print_inspection(found, console)
    text = console.file.getvalue()
    for word in ("translation int8", "encoder.onnx", "1,234", "3 DynamicQuantizeMatMul", "MatMul", "[red]"):
        assert word in text, word
    assert "\x1b" not in text


def test_the_core_needs_neither_torch_nor_onnx() -> None:
    blocked = ("torch", "transformers", "onnx", "onnxruntime", "onnx_ir", "onnxscript", "sacrebleu", "rich", "typer")
    modules = ("checked", "files", "manifest", "parity", "reports", "graphs", "attention", "inspection")
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked!r})); " + "; ".join(f"import zen_edge.{name}" for name in modules)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_garbled_graphs_are_described_or_refused(tmp_path: Path) -> None:
    """Cut or changed at every byte: no other error, and no message of two lines."""
    call = node("F", ["q", "k", "v", "mask"], ["out"], domain="local")
    small = {"W": np.ones((2, 2), np.float32)}
    sound = save(tmp_path / "g.onnx", [call], small, [function("F", ["q", "k", "v", "mask"], attention("r"), ["r"])]).read_bytes()
    changes: list[Callable[[int], bytes]] = [
        lambda i: sound[:i],
        lambda i: sound[:i] + bytes([sound[i] ^ 1]) + sound[i + 1 :],
        lambda i: sound[:i] + b"\xff" + sound[i + 1 :],
        lambda i: sound[:i] + b"\x00" + sound[i + 1 :],
    ]
    described = refused = 0
    path = tmp_path / "garbled.onnx"
    for i in range(0, 4 * len(sound), 3):  # each change at every third byte
        path.write_bytes(changes[i % 4](i // 4))
        try:
            describe_graph(path, "g")
            described += 1
        except BundleError as error:
            assert str(error).isprintable()
            refused += 1
    assert described > 20 and refused > 20
