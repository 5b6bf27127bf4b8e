"""Graphs of a few nodes, to be looked at."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MS = "com.microsoft"
node = helper.make_node
OPSETS = [helper.make_opsetid("", 21), helper.make_opsetid(MS, 1), helper.make_opsetid("local", 1)]
WEIGHT = {"W": np.ones((8, 8), np.float32)}  # (D,D)


def info(name: str, shape: list[int | str | None], dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def graph(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray[Any, Any]] | None = None, output: str = "out") -> onnx.GraphProto:
    """Queries, keys and values (B,N,S,H), a mask and a condition go in."""
    inputs = [
        *(info(name, ["B", "N", "S", 8]) for name in "qkv"),
        info("mask", ["B", 1, 1, "S"], TensorProto.BOOL),
        info("yes", [], TensorProto.BOOL),
    ]
    return helper.make_graph(nodes, "g", inputs, [info(output, None)], [numpy_helper.from_array(w, n) for n, w in (weights or {}).items()])


def save(path: Path, nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray[Any, Any]] | None = None, functions: Any = (), **more: Any) -> Path:
    model = helper.make_model(graph(nodes, weights), opset_imports=OPSETS, functions=list(functions), ir_version=10)
    onnx.save(model, path, **more)
    return path


def attention(out: str = "out", tag: str = "") -> list[onnx.NodeProto]:
    """Scaled, masked, dropped out: as PyTorch's eager attention is traced."""
    return [
        node("Transpose", ["k"], [f"kt{tag}"], perm=[0, 1, 3, 2]),
        node("MatMul", ["q", f"kt{tag}"], [f"s{tag}"]),
        node("Constant", [], [f"half{tag}"], value_float=0.5),
        node("Mul", [f"s{tag}", f"half{tag}"], [f"m{tag}"]),
        node("Where", ["mask", f"m{tag}", f"half{tag}"], [f"w{tag}"]),
        node("Softmax", [f"w{tag}"], [f"p{tag}"], axis=-1),
        node("Cast", [f"p{tag}"], [f"c{tag}"], to=TensorProto.FLOAT),
        node("Dropout", [f"c{tag}"], [f"d{tag}"]),
        node("MatMul", [f"d{tag}", "v"], [out]),
    ]


def function(name: str, inputs: list[str], nodes: list[onnx.NodeProto], outputs: list[str]) -> onnx.FunctionProto:
    return helper.make_function("local", name, inputs, outputs, nodes, OPSETS)


def branch(name: str, nodes: list[onnx.NodeProto], output: str) -> onnx.GraphProto:
    return helper.make_graph(nodes, name, [], [info(output, None)])


def loop_body(nodes: list[onnx.NodeProto]) -> onnx.GraphProto:
    """Carries x (B,N,S,H) to out."""
    inputs = [info("i", [], TensorProto.INT64), info("go", [], TensorProto.BOOL), info("x", None)]
    return helper.make_graph([*nodes, node("Identity", ["go"], ["on"])], "body", inputs, [info("on", [], TensorProto.BOOL), info("y", None)])
