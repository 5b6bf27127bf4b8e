"""Weights in blocks: so many neighbouring numbers of a row that is summed over share one scale; activations are quantized by the same blocks.

    x -> MatMul(W) -> Add(b) -> y      becomes    x -> MatMulNBits(W^T in blocks, scales, b) -> y
    x -> FusedMatMul(E, transB=1)      becomes    x -> MatMulNBits(E in blocks, scales)
    ids -> Gather(E)                   becomes    ids -> GatherBlockQuantized(E in blocks, scales)

Symmetric: zero is the middle number and no zero points are stored (the kernels for other zeros erred by 46 % on AVX2 at this accuracy level). accuracy_level=4: int8
activations with one scale for each block of each row, so that a row's result does not depend on what is beside it. The embedding and a head tied to it hold the same bytes, in
two shapes, and stand in the file once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from zen_edge.exporters.fusions.edit import MICROSOFT, insert, replace
from zen_edge.exporters.quantization.int8 import require_finite
from zen_edge.exporters.quantization.lazily import add_made
from zen_edge.exporters.quantization.parts import Part
from zen_edge.exporters.quantization.products import Product

Array = np.ndarray[Any, Any]
OPERATORS = ("MatMulNBits", "GatherBlockQuantized")
FEWEST = 16  # numbers in a block, for the kernels
CHUNK = 2**22  # numbers at a time


@dataclass(frozen=True)
class Blocks:
    """factors: scales to try, in parts of the one by which the largest number of a block is the end of the range; the one that errs least is taken."""

    bits: int
    size: int
    factors: tuple[float, ...] = (1.0,)

    def pack(self, rows: Array, size: int) -> tuple[Array, Array]:
        """rows (N,K) -> (N, K/size rounded up, size*bits/8) uint8, lower half first, and float32 scales (N, K/size rounded up)."""
        packed = [self._pack(rows[start : start + step], size) for step in [max(1, CHUNK // rows.shape[1])] for start in range(0, len(rows), step)]
        tables, scales = zip(*packed, strict=True)
        return np.concatenate(tables), np.concatenate(scales)

    def _pack(self, rows: Array, size: int) -> tuple[Array, Array]:
        require_finite(rows)
        count, top = -(-rows.shape[1] // size), 2 ** (self.bits - 1)
        blocks = np.zeros((len(rows), count * size), np.float32)
        blocks[:, : rows.shape[1]] = rows
        blocks = blocks.reshape(len(rows), count, size)
        largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=-1)[..., None], -1)
        least = np.full(largest.shape, np.inf, np.float32)
        scale = numbers = None
        for tried, whole in self._tried(blocks, largest, top):
            error = np.square(whole * tried - blocks).sum(axis=-1, keepdims=True)
            better = error < least
            least = np.where(better, error, least)
            scale = tried if scale is None else np.where(better, tried, scale)
            numbers = whole if numbers is None else np.where(better, whole, numbers)
        table = (numbers + top).astype(np.uint8)
        if self.bits == 4:
            table = table[..., 0::2] | (table[..., 1::2] << 4)
        return table, scale[..., 0]

    def _tried(self, blocks: Array, largest: Array, top: int) -> Iterator[tuple[Array, Array]]:
        """Scales (N,K/size,1), and the blocks in whole numbers of them. The largest number, of either sign, becomes -top: there is one more below zero than above."""
        for factor in self.factors:
            scale = np.where(np.abs(largest) < np.finfo(np.float32).tiny * top, 1, largest * np.float32(factor / -top)).astype(np.float32)
            yield scale, np.clip(np.rint(blocks / scale), -top, top - 1)

    def size_for(self, inner: int) -> int | None:
        """The largest size of block, up to the usual one, that K numbers are a multiple of; None if there is none."""
        size = self.size
        while size >= FEWEST and inner % size:
            size //= 2
        return size if size >= FEWEST else None

    def _quantized(self, graph: ir.Graph, weight: ir.Value, inner: int, turned: bool) -> tuple[ir.Value, ir.Value, int]:
        """The packed rows and scales of `weight`, made once for each axis however often they are asked for."""
        name = f"{weight.name}.{self.bits}bits{'.rows' if turned else ''}"
        size = self.size_for(inner) or FEWEST  # the last block is then padded with zeros
        if name not in graph.initializers:
            tensor = weight.const_value

            def make() -> tuple[Array, ...]:
                array = tensor.numpy()
                return self.pack(array if turned else np.ascontiguousarray(array.T), size)

            rows, count = int(tensor.shape[0 if turned else 1]), -(-inner // size)
            packed = [rows, count, size * self.bits // 8]
            add_made(graph, make, 1, f"{name}.scale", ir.DataType.FLOAT, packed[:2])
            add_made(graph, make, 0, name, ir.DataType.UINT8, packed)
            if turned:  # for look-ups, dropped where there is none
                add_made(graph, make, 0, f"{name}.flat", ir.DataType.UINT8, [rows, count * packed[2]])
        return graph.initializers[name], graph.initializers[f"{name}.scale"], size

    def apply(self, graph: ir.Graph, chosen: Sequence[Part], between: bool) -> int:
        """Quantize the parts in `chosen`, in place, but for tables whose width no block fits. Returns how many were."""
        return sum(self._look_up(graph, part.node) if part.product is None else self._product(graph, part.product) for part in chosen)

    def _product(self, graph: ir.Graph, product: Product) -> bool:
        K, N = product.sizes
        table, scale, size = self._quantized(graph, product.weight, K, product.turned)
        inputs = [product.x, table, scale, *([None, None, product.bias] if product.bias is not None else [])]
        attributes = {"K": K, "N": N, "bits": self.bits, "block_size": size, "accuracy_level": 4}
        (out,) = insert(product.node, "MatMulNBits", inputs, attributes, domain=MICROSOFT)
        replace(product.output, out)
        return True

    def _look_up(self, graph: ir.Graph, node: ir.Node) -> bool:
        words = node.inputs[0]
        inner = int(words.const_value.shape[1])
        if self.size_for(inner) is None:
            return False
        table, scale, size = self._quantized(graph, words, inner, True)
        attributes = {"gather_axis": 0, "quantize_axis": 1, "bits": self.bits, "block_size": size}
        (out,) = insert(node, "GatherBlockQuantized", [graph.initializers[f"{table.name}.flat"], node.inputs[1], scale], attributes, domain=MICROSOFT)
        replace(node.outputs[0], out)
        return True
