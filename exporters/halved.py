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
Largest = Mapping[str, Mapping[str, float]]
"""{graph: {value: the largest |x| in it}}"""
Measure = Callable[[Path], Largest]


def halve(folder: Path, names: Sequence[str], largest: Largest) -> dict[str, Any]:
    """The fp32 graphs `names` in `folder` in half precision, but for what is near its end. Returns what the manifest tells of each graph."""
    told = {}
    with tempfile.TemporaryDirectory(dir=folder.parent) as single:
        for file in (*(f"{name}.onnx" for name in names), DATA):
            (folder / file).rename(Path(single) / file)
        models = {name: ir.load(Path(single) / f"{name}.onnx") for name in names}
        for name, model in models.items():
            if measured := largest.get(name):
                told[name] = _told(model.graph, measured)
            quantize(model, "fp16", largest.get(name, {}))
        save_graphs(models, folder)
    return told


def _told(graph: ir.Graph, measured: Mapping[str, float]) -> dict[str, Any]:
    """largest: of all values, and where; single: what computes the values that stay single for their size, of how many each."""
    where = max(measured, key=lambda name: measured[name])
    wide = [node.op_type for node in graph if is_wide(node, measured)]
    return {
        "largest": round(measured[where], 3),
        "where": where,
        "limit": -LEAST / HEADROOM,
        "single": {op: wide.count(op) for op in sorted(set(wide))},
    }
