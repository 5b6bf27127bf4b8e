"""Half precision by measurement: an export that is written in fp32 first, run on what it is checked on, and halved where its numbers allow."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from zen_edge.exporters.quantization import quantize
from zen_edge.exporters.quantization.fp16 import HEADROOM, LEAST, is_wide
from zen_edge.exporters.weights import save_graphs

DATA = "weights.bin"
IN_BLOCKS = ("int8-blocks", "int4")
Largest = Mapping[str, Mapping[str, float]]
"""{graph: {value: the largest |x| in it}}"""
Measure = Callable[[Path], Largest]


def is_halved(precision: str, device: str) -> bool:
    """Whether activations are in half precision: of CUDA with weights in blocks too, whose kernels there take halves."""
    return precision == "fp16" or (device == "cuda" and precision in IN_BLOCKS)


def halve(folder: Path, names: Sequence[str], largest: Largest, precision: str = "fp16") -> dict[str, Any]:
    """The fp32 graphs `names` in `folder` in half precision, but for what is near its end, the weights as `precision` says. Returns what the manifest tells of each graph."""
    told = {}
    with tempfile.TemporaryDirectory(dir=folder) as single:
        for file in (*(f"{name}.onnx" for name in names), DATA):
            (folder / file).rename(Path(single) / file)
        models = {name: ir.load(Path(single) / f"{name}.onnx") for name in names}
        for name, model in models.items():
            if measured := largest.get(name):
                told[name] = tell_largest(model.graph, measured)
            quantize(model, precision, largest.get(name, {}), half=precision in IN_BLOCKS)
        save_graphs(models, folder)
    return told


def tell_largest(graph: ir.Graph, measured: Mapping[str, float]) -> dict[str, Any]:
    """largest: of all values, and where; single: what computes the values that stay single for their size, of how many each."""
    where = max(measured, key=lambda name: measured[name])
    wide = [node.op_type for node in graph if is_wide(node, measured)]
    return {
        "largest": round(measured[where], 3),
        "where": where,
        "limit": -LEAST / HEADROOM,
        "single": {op: wide.count(op) for op in sorted(set(wide))},
    }
