"""A module's bundle: what it is, what it answers, and what it says of wrong arrays."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import zen_edge
from zen_edge.cli import app
from zen_edge.errors import CheckFailedError, InputError, OptionError
from zen_edge.exporters.own_module import load_factory


def zen(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def arrays(B=3, S=4, T=9, seed=1):
    random = np.random.default_rng(seed)
    query, key = (random.standard_normal((B, size, 32)).astype(np.float32) for size in (S, T))
    return {"query": query, "key": key, "mask": (random.random((B, T)) > 0.4).astype(np.int64)}


def test_what_it_is(heads_bundle):
    graph = zen_edge.load(heads_bundle, threads=1).manifest.graph("module")
    assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in graph.inputs] == [
        ("query", "float32", ("B", "S", 32)),
        ("key", "float32", ("B", "T", 32)),
        ("mask", "int64", ("B", "T")),
    ]
    assert [tensor.name for tensor in graph.outputs] == ["states", "query.out"]
    assert (graph.fused_attention, graph.unfused_attention, graph.unfused_reasons) == (1, 0, ())
    assert "Transpose" not in graph.ops


@pytest.mark.parametrize("sizes", [(3, 4, 9), (1, 1, 1), (2, 1, 5), (5, 6, 6)])
def test_it_answers_as_the_module_does(heads_bundle, factory, sizes):
    own = load_factory(factory("heads"))
    given = arrays(*sizes)
    given["mask"][0] = 0  # a row without any key
    expected = own({name: torch.from_numpy(value) for name, value in given.items()})
    found = zen_edge.load(heads_bundle, threads=1)(**given)
    assert list(found) == ["states", "query"]
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value.numpy(), atol=1e-5)


def test_wrong_arrays_are_told_by_name(heads_bundle):
    right = arrays()
    with zen_edge.load(heads_bundle, threads=1) as pipeline:
        for wrong, words in (
            ({"key": right["key"][:, :, :31]}, r"'key' has the shape \[3, 9, 31\]; expected \[B, T, 32\]: axis 2 is 32"),
            ({"key": right["key"][0]}, r"'key' has the shape \[9, 32\]; expected \[B, T, 32\]"),
            ({"mask": right["mask"][:, :8]}, r"'mask' has the shape \[3, 8\]; expected \[B, T\]: T is 9 in 'key' and 8 here"),
            ({"mask": right["mask"].astype(np.int32)}, r"'mask' is int32; expected int64: mask.astype\('int64'\)"),
            ({"query": right["query"].tolist()}, "'query' is a value of type list; expected an array of float32"),
            ({"query": right["query"][:, :0]}, r"S \(axis 1\) should be at least 1"),
            ({"more": right["mask"]}, r"no input 'more'; the module takes: query \[B, S, 32\] float32, key"),
        ):
            with pytest.raises(InputError, match=words):
                pipeline(**right | wrong)
        with pytest.raises(InputError, match="the input 'mask' is missing"):
            pipeline({name: right[name] for name in ("query", "key")})
    with pytest.raises(zen_edge.ZenEdgeError, match="closed"):
        pipeline(**right)


def test_parity_on_the_command_line(heads_bundle, factory, tmp_path):
    done = zen("parity", heads_bundle, factory("heads"), "--json")
    report = json.loads(done.stdout)
    assert (done.exit_code, report["passed"]) == (0, True)
    assert report["about"]["sizes"] >= 6
    assert {row["name"].split(",")[0] for row in report["outputs"]} == {"states", "query"}
    np.savez(tmp_path / "mine.npz", **arrays())
    assert zen("parity", heads_bundle, factory("heads"), "--inputs", tmp_path / "mine.npz").exit_code == 0
    other = zen("parity", heads_bundle, factory("textbook"))
    assert other.exit_code == 3
    assert "other weights" in other.stderr


def test_parity_sees_a_wrong_number(heads_bundle, factory):
    own = load_factory(factory("heads"))
    hook = own.module.out.register_forward_hook(lambda module, inputs, output: output + 1e-2)
    with pytest.raises(CheckFailedError):
        zen_edge.parity(heads_bundle, torch.nn.Linear(32, 32), inputs={"input": torch.ones(1, 32)})
    report = zen_edge.parity(heads_bundle, own.module, inputs=own.inputs)
    hook.remove()
    assert not report.passed
    assert zen_edge.parity(heads_bundle, own.module, inputs=own.inputs).passed


def test_run_on_the_command_line(heads_bundle, tmp_path):
    np.savez(tmp_path / "in.npz", **arrays())
    assert zen("run", heads_bundle, "--inputs", tmp_path / "in.npz", "-o", tmp_path / "out.npz").exit_code == 0
    with np.load(tmp_path / "out.npz") as found:
        assert {name: found[name].shape for name in found.files} == {"states": (3, 4, 32), "query": (3, 32)}
        told = json.loads(zen("run", heads_bundle, tmp_path / "in.npz", "--json").stdout)
        np.testing.assert_allclose(told["query"], found["query"], rtol=1e-6)
    for words, status, message in (
        (("--inputs", tmp_path / "in.npz"), 1, "say where the arrays go"),
        (("-o", tmp_path / "out.npz"), 1, "one .npz file"),
        (("--inputs", tmp_path / "in.npz", "-o", tmp_path / "out.txt"), 1, "written as .npz"),
        (("--inputs", tmp_path / "in.npz", "--num-beams", 2, "--json"), 1, "no option 'num_beams'"),
        (("--inputs", tmp_path / "none.npz", "--json"), 1, "cannot be read"),
    ):
        done = zen("run", heads_bundle, *words)
        assert (done.exit_code, done.stderr.count("\n")) == (status, 1)
        assert message in done.stderr


def test_int8_of_a_module_given_as_it_is_with_declared_axes(tmp_path, factory):
    own = load_factory(factory("textbook"))
    free = {name: {0: "B", 1: length} for name, length in (("query", "Q"), ("key", "K"), ("value", "K"))}
    bundle = zen_edge.export(own.module, example_inputs=own.inputs, out=tmp_path / "out", dynamic=free, precision="int8")
    graph = bundle.manifest.graph("module")
    assert [tensor.shape for tensor in graph.inputs] == [("B", "Q", 32), ("B", "K", 32), ("B", "K", 32)]
    assert (graph.fused_attention, graph.ops.get("MatMul", 0)) == (1, 0)
    report = zen_edge.parity(tmp_path / "out", own.module, inputs=own.inputs)
    assert report.passed
    assert max(row.max_rel for row in report.outputs) > 1e-4  # it was quantized
    with pytest.raises(OptionError, match="are for a module of your own"):
        zen_edge.export("Helsinki-NLP/opus-mt-en-fr", tmp_path / "no", dynamic=free)


def test_what_stays_unfused_is_told_with_its_reason(tmp_path):
    class Returned(torch.nn.Module):
        def forward(self, x):
            weights = torch.softmax(x @ x.transpose(1, 2), -1)
            return {"states": weights @ x, "weights": weights}

    zen_edge.export(Returned(), tmp_path / "out", example_inputs=(torch.randn(2, 3, 8),))
    graph = json.loads(zen("inspect", tmp_path / "out", "--json").stdout)["graphs"][0]
    assert (graph["fused_attention"], graph["unfused_attention"]) == (0, 1)
    (reason,) = graph["unfused_reasons"]
    assert reason.startswith("Returned (test_bundle.py, line")
    assert "weights are returned too" in reason
    assert "weights are returned too" in " ".join(zen("inspect", tmp_path / "out").stdout.split())
