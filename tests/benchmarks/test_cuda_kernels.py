"""The table of CUDA kernels, from a list as ONNX Runtime writes it."""

import json
from pathlib import Path

import onnx
import pytest

from zen_edge.benchmarks import cuda_kernels
from zen_edge.benchmarks.cuda_kernels import Operator, Row, main, read_list

LIST = """## Operators implemented by CPUExecutionProvider

| Op Name | Parameters | OpSet Version | Types Supported |
|---------|------------|---------------|-----------------|
|**Operator Domain:** *ai.onnx*||||
|Abs|*in* X:**T**<br> *out* Y:**T**|13+|**T** = tensor(float)|
| |
<a name="cudaexecutionprovider"/>

## Operators implemented by CUDAExecutionProvider

| Op Name | Parameters | OpSet Version | Types Supported |
|---------|------------|---------------|-----------------|
|**Operator Domain:** *ai.onnx*||||
|Slice|*in* data:**T**<br> *in* starts:**Tind**<br> *out* output:**T**<br><br>or<br><br>*in* data:**T**<br> *out* output:**T**|13+|**T** = tensor(bool), tensor(float16)<br/> **Tind** = tensor(int32), tensor(int64)|
|||[11, 12]|**T** = tensor(float)<br/> **Tind** = tensor(int64)|
|||10|**T** = tensor(float)|
|Split|*in* input:**T**<br> *in* split:**T**<br> *out* outputs...:**T**<br><br>or<br><br>*in* input:**T**<br> *in* split:**tensor(int64)**<br> *out* outputs:**T**|18+|**T** = tensor(double)|
|Loop|*in* v:**V**<br> *out* w:**V**|19+|**V** = seq(tensor(float)), tensor(float)|
|**Operator Domain:** *com.microsoft*||||
|BiasGelu|*in* A:**T**<br> *in* B:**T**<br> *out* C:**T**|1+|**T** = tensor(float), tensor(float16)|
|**Operator Domain:** *com.ms.internal.nhwc*||||
|Conv|*in* X:**T**<br> *out* Y:**T**|22+|**T** = tensor(float)|

## Operators implemented by DmlExecutionProvider

|**Operator Domain:** *ai.onnx*||||
|Add|*in* X:**T**<br> *out* Y:**T**|13+|**T** = tensor(float)|
"""
READ = {
    "Slice": Operator(
        ("T", "Tind"),
        ("T",),
        (
            Row(13, None, {"T": ("bool", "float16"), "Tind": ("int32", "int64")}),
            Row(11, 12, {"T": ("float32",), "Tind": ("int64",)}),
            Row(10, 10, {"T": ("float32",)}),
        ),
    ),
    "Split": Operator(("T", "int64"), ("T",), (Row(18, None, {"T": ("float64",)}),)),
    "Loop": Operator(("V",), ("V",), (Row(19, None, {"V": ("float32",)}),)),
    "com.microsoft::BiasGelu": Operator(("T", "T"), ("T",), (Row(1, None, {"T": ("float32", "float16")}),)),
}


def test_a_list_is_read() -> None:
    assert read_list(LIST) == READ
    with pytest.raises(ValueError, match="no list of operators implemented by CUDA"):
        read_list("## Operators implemented by CPUExecutionProvider\n")


def test_the_table_is_written(tmp_path: Path) -> None:
    (tmp_path / "list.md").write_text(LIST)
    main([str(tmp_path / "list.md"), "--version", "1.2.3", "--commit", "abc", "--out", str(tmp_path / "table.json")])
    table = json.loads((tmp_path / "table.json").read_text())
    assert table["about"] == {"list": "docs/OperatorKernels.md of microsoft/onnxruntime", "version": "1.2.3", "commit": "abc", "asked": None}
    assert table["kernels"]["com.microsoft::BiasGelu"] == {"inputs": ["T", "T"], "outputs": ["T"], "rows": [[1, None, {"T": "float32 float16"}]]}
    assert list(table["kernels"]) == sorted(READ)


def test_what_is_asked_replaces_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked of the CPU's provider, which any ONNX Runtime has: nodes of one operator, every version and type."""
    monkeypatch.setattr(cuda_kernels, "PROVIDER", "CPUExecutionProvider")
    monkeypatch.setattr(onnx.defs, "get_all_schemas", list)
    rows = (Row(13, None, {"T": ("float16",)}), Row(9, 12, {"T": ("float32",)}))
    found = cuda_kernels.ask(
        {"Sign": Operator(("T",), ("T",), rows), "Where": Operator((), (), rows), "If": Operator((), (), rows), "own::F": READ["Loop"]}
    )
    assert found["own::F"] == READ["Loop"]
    newest = found["Sign"].rows[0]
    assert (newest.first, newest.last) == (13, 13) and "float32" in newest.types["T"] and found["Sign"].rows[-1] == rows[-1]
    assert (
        found["Where"].rows[0].last == 16
        and found["Where"].inputs == ("B", "T", "T")
        and {"float32", "int64"} <= set(found["Where"].rows[0].types["T"])
    )
    assert found["If"].rows[0].first <= 21 <= (found["If"].rows[0].last or 0) and found["If"].rows[0].types["B"] == ("bool",)
