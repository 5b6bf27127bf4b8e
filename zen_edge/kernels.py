"""What a device has kernels for, and why it has none for a node.

For CUDA: the table in data/cuda_kernels.json, made from ONNX Runtime's own list by `python -m zen_edge.benchmarks.cuda_kernels`. For CPUs: the dtypes of the operators that are
none of ONNX's own; all others are taken as supported.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from zen_edge.graphs import FLOATS
from zen_edge.manifest import NodeKind

F32, F16, BF16, F64 = "float32", "float16", "bfloat16", "float64"
MS = "com.microsoft::"
# As ONNX Runtime 1.32 lists its kernels.
CPU: dict[str, tuple[str, ...]] = {
    MS + "MultiHeadAttention": (F32,),
    MS + "DecoderMaskedMultiHeadAttention": (F32,),
    MS + "GroupQueryAttention": (F32, F16),
    MS + "PackedMultiHeadAttention": (),
    MS + "RelativePositionBias": (),
    "Attention": (F32, F16),
    "TensorScatter": (F32, F16, BF16, F64),
    MS + "MatMulNBits": (F32, F16),
    MS + "GatherBlockQuantized": (F32, F16),
    MS + "DynamicQuantizeMatMul": (F32,),
    MS + "MatMulIntegerToFloat": (F32,),
    MS + "SkipLayerNormalization": (F32, F16, BF16, F64),
    MS + "BiasGelu": (F32,),
    MS + "FastGelu": (F32,),
    MS + "QuickGelu": (F32,),
    MS + "NGramRepeatBlock": (F32,),
}


@dataclass(frozen=True)
class Rows:
    """An operator's kernels on CUDA. inputs, outputs: the variable of each, or its one type. rows: (first version, last version or None for the first
    alone, {variable: types})."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    rows: tuple[tuple[int, int | None, dict[str, frozenset[str]]], ...]


@dataclass(frozen=True)
class CudaKernels:
    """about: of which ONNX Runtime the table is: "version" and "commit" of the list, and "asked", the release that it was put to."""

    about: dict[str, Any]
    operators: dict[str, Rows]


@cache
def cuda_kernels() -> CudaKernels:
    held = json.loads((files("zen_edge") / "data" / "cuda_kernels.json").read_text("utf-8"))

    def rows(entry: dict[str, Any]) -> Rows:
        read = tuple((first, last, {name: frozenset(types.split()) for name, types in known.items()}) for first, last, known in entry["rows"])
        return Rows(tuple(entry["inputs"]), tuple(entry["outputs"]), read)

    return CudaKernels(held["about"], {name: rows(entry) for name, entry in held["kernels"].items()})


def known_on_cuda(op: str, dtype: str) -> bool:
    """Whether CUDA has a kernel for `op`, in any version, with a first input of `dtype`."""
    operator = cuda_kernels().operators.get(op)
    return operator is not None and any(dtype in types.get(operator.inputs[0], ()) for *_, types in operator.rows)


def missing(node: NodeKind, device: str) -> str | None:
    """Why `device` has no kernel for `node`, in words; None where it has one."""
    return _missing_on_cuda(node) if device == "cuda" else _missing_on_cpu(node)


def _missing_on_cpu(node: NodeKind) -> str | None:
    dtypes = CPU.get(node.op, FLOATS)
    if not dtypes:
        return "no kernel at all"
    given = next((dtype for dtype in node.inputs if dtype in FLOATS), dtypes[0])
    return None if given in dtypes else f"no kernel for {given}"


def _missing_on_cuda(node: NodeKind) -> str | None:
    if node.op == "Constant":
        return None  # becomes a weight when a session starts
    operator = cuda_kernels().operators.get(node.op)
    if operator is None:
        return "no kernel at all"
    of_version = [row for row in operator.rows if row[0] <= node.version <= (row[0] if row[1] is None else row[1])]
    if not of_version:
        return f"no kernel for version {node.version} of the operator, only for {_versions(operator)}"
    wrong = [word for _, _, types in of_version if (word := _wrong(operator, types, node)) is not None]
    return wrong[0] if len(wrong) == len(of_version) else None


def _wrong(operator: Rows, types: dict[str, frozenset[str]], node: NodeKind) -> str | None:
    for side, given, formals in (("input", node.inputs, operator.inputs), ("output", node.outputs, operator.outputs)):
        for i, dtype in enumerate(given):
            variable = formals[min(i, len(formals) - 1)] if len(formals) == 1 or i < len(formals) else ""
            if dtype not in ("", "unknown") and variable in types and dtype not in types[variable]:
                return f"no kernel for {dtype} as its {side} {i + 1}"
    return None


def _versions(operator: Rows) -> str:
    """ "13 and 16 to 18" """
    spans = [f"{first} to {last}" if last not in (None, first) else str(first) for first, last, _ in sorted(operator.rows, key=lambda row: row[0])]
    return " and ".join(spans)
