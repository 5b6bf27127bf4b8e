"""A graph with every tensor inside it returned, to find where two graphs part, or with the largest number in each."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)


def with_every_output(path: Path) -> tuple[bytes, list[str]]:
    """The graph's bytes, its external data left where it lies, and the names of all floating-point tensors in the order they are computed."""
    model = ir.load(path)
    returned = {value.name for value in model.graph.outputs}
    names = []
    for node in model.graph:
        for value in node.outputs:
            if value.name and value.dtype in FLOATS:
                names.append(value.name)
                if value.name not in returned:
                    model.graph.outputs.append(value)
    return ir.serde.serialize_model(model).SerializeToString(), names


def with_largest(path: Path) -> tuple[bytes, dict[str, str]]:
    """The graph's bytes, returning nothing but the largest |x| of every tensor in single precision that is computed outside of branches, and {output: the tensor's name}."""
    model = ir.load(path)
    graph, names = model.graph, {}
    graph.outputs.clear()
    for node in list(graph):
        for i, value in enumerate(node.outputs):
            if not value.name or value.dtype != ir.DataType.FLOAT or node.op_type == "If":
                continue
            sizes = ir.node("Abs", [value])
            most = ir.node("ReduceMax", [sizes.outputs[0]], {"keepdims": 0})
            graph.insert_after(node, [sizes, most])
            most.outputs[0].name = f"largest.{i}.{value.name}"
            most.outputs[0].type, most.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([])
            graph.outputs.append(most.outputs[0])
            names[most.outputs[0].name] = value.name
    return ir.serde.serialize_model(model).SerializeToString(), names
