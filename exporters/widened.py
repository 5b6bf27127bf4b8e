"""An fp16 bundle with every half made single: the same graphs, of which nothing is rounded on the way.

    before:  x -> Cast(half) -> MatMul(W16) -> Add(b16) -> Cast(single) -> y
    after:   x -> Cast(single) -> MatMul(W) -> Add(b) -> Cast(single) -> y

W is W16 as it stands, or the whole weight of a fresh fp32 export, to which W16 must then be the nearest half.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from zen_edge.errors import CheckFailedError
from zen_edge.exporters.quantization.fp16 import HALF, LEAST, SINGLE
from zen_edge.exporters.quantization.parts import bodies
from zen_edge.exporters.weights import save_graphs
from zen_edge.inspection import describe_graph, describe_recorded
from zen_edge.manifest import Manifest, describe_files, read_manifest, write_manifest
from zen_edge.recipe import Recipe

DATA = "weights.bin"
SUFFIX = ".half"


def widen(bundle: Path, out: Path, fresh: Path | None = None) -> Manifest:
    """Write into `out`, which is not there, the fp16 `bundle` as an fp32 one. fresh: an fp32 export of the same model, whose weights it then has.

    CheckFailedError for a weight that `fresh` does not hold, or that is not the nearest half of it.
    """
    shutil.copytree(bundle, out, ignore=shutil.ignore_patterns(DATA, "*.onnx"))
    models = {path.stem: ir.load(path) for path in sorted(bundle.glob("*.onnx"))}
    for name, model in models.items():
        to_single(model.graph, None if fresh is None else ir.load(fresh / f"{name}.onnx").graph)
    save_graphs(models, out)
    manifest = read_manifest(bundle)
    made = replace(
        manifest,
        precision="fp32",
        recipe=dict(Recipe.uniform("fp32").parts),
        graphs=tuple(describe_graph(out / graph.file, graph.name) for graph in manifest.graphs),
        files=describe_files(out),
        parity=None,
        activations={},
        recorded=describe_recorded(out),
    )
    write_manifest(out, made)
    return made


def to_single(graph: ir.Graph, fresh: ir.Graph | None = None) -> None:
    """Every half of `graph` a single, in place; weights as they are in `fresh`, where that is given. Raises as `widen`."""
    _widen(
        graph,
        None if fresh is None else {str(name): value.const_value for name, value in fresh.initializers.items() if value.const_value is not None},
    )


def _widen(graph: ir.Graph, whole: Mapping[str, ir.TensorProtocol] | None) -> None:
    for value in graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and tensor.dtype == HALF:
            rounded = str(value.name).endswith(SUFFIX)  # others are numbers that were written as halves
            array = _whole(str(value.name), tensor, whole) if rounded and whole is not None else tensor.numpy().astype(np.float32)
            value.const_value = ir.tensor(array, name=value.name)
    for value in (*graph.initializers.values(), *graph.inputs):
        _single(value)
    for node in graph:
        if node.op_type == "Cast" and node.attributes.get_int("to", 0) == HALF:
            node.attributes["to"] = ir.AttrInt64("to", int(SINGLE))
        for name, attribute in list(node.attributes.items()):
            if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype == HALF:
                node.attributes[name] = ir.AttrTensor(name, ir.tensor(attribute.as_tensor().numpy().astype(np.float32)))
        for output in node.outputs:
            _single(output)
        for body in bodies(node):
            _widen(body, whole)


def _single(value: ir.Value) -> None:
    if value.dtype == HALF:
        value.type = ir.TensorType(SINGLE)


def _whole(name: str, tensor: ir.TensorProtocol, whole: Mapping[str, ir.TensorProtocol]) -> np.ndarray:
    """The weight that `tensor` was rounded from."""
    found = whole.get(name.removesuffix(SUFFIX))
    if found is None or tuple(found.shape) != tuple(tensor.shape):
        raise CheckFailedError(f"the weight {name} of the bundle is none of the model's.")
    array, held = found.numpy().astype(np.float32), tensor.numpy()
    if not any(np.array_equal(held, rounded) for rounded in _rounded(array)):
        raise CheckFailedError(f"the weight {name} of the bundle is not the model's, rounded to half precision.")
    return array


def _rounded(array: np.ndarray) -> Iterator[np.ndarray]:
    """As a weight is, and as a bias of attention."""
    for least in (LEAST, LEAST / 2):
        yield np.clip(array, least, -LEAST).astype(np.float16)
