"""Why a device has no kernel for a node: the operator, its version, its types."""

import pytest

from zen_edge.kernels import cuda_kernels, missing
from zen_edge.manifest import NodeKind

MS = "com.microsoft::"


def kind(op: str, version: int, *inputs: str, outputs: tuple[str, ...] = ()) -> NodeKind:
    return NodeKind(op, version, inputs, outputs or inputs[:1], 1)


TAKEN = [
    kind("MatMul", 13, "float16", "float16"),
    kind("Softmax", 13, "float16"),
    kind("LayerNormalization", 17, "float16", "float16", "float16"),
    kind("SimplifiedLayerNormalization", 1, "float16", "float16"),
    kind("Gelu", 20, "float16"),
    kind("Cast", 21, "float16", outputs=("float32",)),
    kind("TopK", 11, "float32", "int64", outputs=("float32", "int64")),
    kind("ReduceMax", 20, "float32", "int64"),
    kind("If", 21, "bool", outputs=("float32",)),
    kind("Concat", 13, "float16", "float16", "float16"),
    kind("Attention", 23, "float16", "float16", "float16", "bool"),
    kind("Constant", 21, outputs=("float32",)),
    kind(MS + "MultiHeadAttention", 1, "float16", "float16", "float16", "", "int32"),
    kind(MS + "MatMulNBits", 1, "float16", "uint8", "float16"),
    kind(MS + "GatherBlockQuantized", 1, "uint8", "int64", "float32", outputs=("float32",)),
    kind("MatMul", 13, "unknown", "unknown"),  # what is not known is not held against it
]
NOT_TAKEN = [
    (kind(MS + "DynamicQuantizeMatMul", 1, "float32", "int8", "float32"), "no kernel at all"),
    (kind("DFT", 20, "float32"), "no kernel at all"),
    (kind("LayerNormalization", 99, "float16"), "no kernel for version 99 of the operator, only for 1 to 16 and 17"),
    (kind("Range", 11, "float16", "float16", "float16"), "no kernel for float16 as its input 1"),
    (kind("Range", 99, "int64"), "no kernel for version 99 of the operator, only for 11"),
    (kind("Where", 16, "bool", "bool", "bool"), "no kernel for bool as its input 2"),
    (kind("Concat", 13, "float16", "string"), "no kernel for string as its input 2"),
    (kind(MS + "GroupQueryAttention", 1, "float32", "float32", "float32"), "no kernel for float32 as its input 1"),
    (kind("MatMulInteger", 10, "uint8", "int8", outputs=("int32",)), "no kernel for uint8 as its input 1"),
]


@pytest.mark.parametrize("node", TAKEN, ids=lambda node: node.op)
def test_what_cuda_takes(node: NodeKind) -> None:
    assert missing(node, "cuda") is None


@pytest.mark.parametrize(("node", "reason"), NOT_TAKEN, ids=lambda value: value.op if isinstance(value, NodeKind) else "")
def test_what_cuda_does_not_take_and_why(node: NodeKind, reason: str) -> None:
    assert missing(node, "cuda") == reason


def test_a_cpu_has_no_half_attention() -> None:
    assert missing(kind(MS + "MultiHeadAttention", 1, "float16"), "cpu") == "no kernel for float16"
    assert missing(kind(MS + "PackedMultiHeadAttention", 1, "float16"), "cpu") == "no kernel at all"
    assert missing(kind("LayerNormalization", 17, "float16"), "cpu") is None


def test_the_table_says_what_it_is_of() -> None:
    table = cuda_kernels()
    assert set(table.about) == {"list", "version", "commit", "asked"} and len(table.about["commit"]) == 40
    assert len(table.operators) > 200
