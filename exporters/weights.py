"""One external data file for all graphs of a bundle: a tensor that several graphs hold stands in it once."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir

INLINE = 1024  # bytes; smaller tensors stay in the graph's own file
PAGE, LINE = 4096, 64  # alignment: large tensors are mapped by page, small ones read by cache line


def save_graphs(models: dict[str, ir.Model], folder: Path, data: str = "weights.bin") -> None:
    """Write `{name}.onnx` for every model and their tensors to `data`, the same bytes once, in a fixed order."""
    written: dict[bytes, tuple[int, int]] = {}
    with (folder / data).open("wb") as file:
        for name, model in models.items():
            for value in model.graph.initializers.values():
                tensor = value.const_value
                if tensor is None or tensor.nbytes < INLINE:
                    continue
                raw = _bytes(tensor)
                key = hashlib.sha256(raw).digest()
                if key not in written:
                    alignment = PAGE if len(raw) >= PAGE else LINE
                    file.write(b"\0" * (-file.tell() % alignment))
                    written[key] = (file.tell(), len(raw))
                    file.write(raw)
                del raw
                offset, length = written[key]
                value.const_value = ir.ExternalTensor(
                    data, offset, length, tensor.dtype, shape=ir.Shape(tensor.shape), name=value.name, base_dir=folder
                )
            ir.save(model, folder / f"{name}.onnx")


def _bytes(tensor: ir.TensorProtocol) -> memoryview | bytes:
    """As they lie in memory where that is how they are written, without a copy."""
    array = tensor.numpy()
    if sys.byteorder != "little" or array.nbytes != tensor.nbytes:  # numbers of 4 bits, two of which share a byte
        return tensor.tobytes()
    return memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
