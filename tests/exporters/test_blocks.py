"""Weights in blocks: the numbers, the operators, shared tables, and rows that do not depend on each other."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from zen_edge.errors import CheckpointError
from zen_edge.exporters.quantization import int4, int8_blocks, quantize
from zen_edge.exporters.quantization.blocks import Blocks
from zen_edge.exporters.weights import save_graphs

RANDOM = np.random.default_rng(1)
HEADER = '<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>'
SCHEMES = {"int8-blocks": int8_blocks.BLOCKS, "int4": int4.BLOCKS}
ERRORS = {"int8-blocks": 0.015, "int4": 0.12}  # of products with weights and inputs from a normal distribution
TIED = """g (int64[B,T] ids, float[B,S,128] x) => (float[B,T,128] rows, float[B,S,80] logits) {
    rows = Gather(E, ids)  logits = com.microsoft.FusedMatMul<transB=1>(x, E) }"""


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def graph(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f"{HEADER} {text}")
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    return model


def product(inner: int = 128, width: int = 48) -> onnx.ModelProto:
    return graph(f"g (float[B,S,{inner}] x) => (float[B,S,{width}] y) {{ p = MatMul(x, W)  y = Add(p, b) }}", W=normal(inner, width), b=normal(width))


def quantized(proto: onnx.ModelProto, precision: str) -> tuple[int, ir.Model, list[str]]:
    model = ir.from_proto(proto)
    return quantize(model, precision), model, [node.op_type for node in model.graph]


def run(proto: onnx.ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(proto.SerializeToString()).run(None, feeds)


def relative(ours: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(ours - exact) / np.linalg.norm(exact))


def unpacked(blocks: Blocks, table: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(N, K/size, size) numbers, as the kernels read them."""
    whole = table if blocks.bits == 8 else np.stack([table & 15, table >> 4], axis=-1).reshape(*table.shape[:2], -1)
    return (whole.astype(np.float32) - 2 ** (blocks.bits - 1)) * scale[..., None]


@pytest.mark.parametrize("precision", SCHEMES)
def test_what_is_packed_comes_back_within_a_step(precision):
    blocks = SCHEMES[precision]
    rows = normal(40, 200) * np.logspace(-6, 6, 40, dtype=np.float32)[:, None]
    table, scale = blocks.pack(rows, 64)
    assert (table.shape, scale.shape) == ((40, 4, 64 * blocks.bits // 8), (40, 4))  # 200 numbers in 4 blocks, the last one padded
    found = unpacked(blocks, table, scale).reshape(40, 256)
    assert not found[:, 200:].any()
    clipped = 0.8 if blocks.bits == 4 else 1.0  # of the largest number, where a finer step is worth it
    steps = np.abs(found[:, :200] - rows).reshape(40, -1) / np.abs(rows).max(axis=1, keepdims=True)
    assert steps.max() < 1 / 2 ** (blocks.bits - 1) + (1 - clipped)


def test_scales_that_are_tried_err_less():
    rows = normal(64, 256)
    plain = Blocks(bits=4, size=32)
    errors = [np.linalg.norm(unpacked(one, *one.pack(rows, 32)).reshape(rows.shape) - rows) for one in (plain, int4.BLOCKS)]
    assert errors[1] < 0.96 * errors[0]


@pytest.mark.parametrize("precision", SCHEMES)
def test_zeros_stay_zero_and_what_is_no_number_is_refused(precision):
    rows = normal(20, 64)
    rows[3] = 0
    table, scale = SCHEMES[precision].pack(rows, 32)
    assert np.isfinite(scale).all()
    assert not unpacked(SCHEMES[precision], table, scale)[3].any()
    rows[5, 5] = np.nan
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        SCHEMES[precision].pack(rows, 32)


@pytest.mark.parametrize("precision", SCHEMES)
@pytest.mark.parametrize("inner", [128, 96, 100])
def test_a_product_with_its_bias(precision, inner):
    """100 inputs are not a multiple of any block: the last one is padded."""
    proto = product(inner)
    made, model, ops = quantized(proto, precision)
    assert (made, ops) == (1, ["MatMulNBits"])
    assert next(iter(model.graph)).attributes.get_int("accuracy_level") == 4
    assert len(next(iter(model.graph)).inputs) == 6  # a bias, and neither zero points nor groups
    assert list(next(iter(model.graph)).inputs[3:5]) == [None, None]
    x = normal(3, 5, inner)
    assert relative(run(ir.to_proto(model), x=x)[0], run(proto, x=x)[0]) < ERRORS[precision]


@pytest.mark.parametrize("precision", SCHEMES)
def test_the_embedding_and_the_head_tied_to_it_hold_the_same_bytes_once(precision, tmp_path):
    embedding = normal(80, 128)
    proto = graph(TIED, E=embedding)
    made, model, ops = quantized(proto, precision)
    assert (made, sorted(ops)) == (2, ["GatherBlockQuantized", "MatMulNBits"])
    ids, x = np.array([[0, 79, 5]]), normal(1, 4, 128)
    rows, logits = run(ir.to_proto(model), ids=ids, x=x)
    assert relative(rows, embedding[ids]) < ERRORS[precision]
    assert relative(logits, x @ embedding.T) < ERRORS[precision]
    bits = SCHEMES[precision].bits
    save_graphs({"g": model}, tmp_path)
    assert (tmp_path / "weights.bin").stat().st_size < embedding.size * bits / 8 + 80 * 128 / 32 * 4 + 4096


@pytest.mark.parametrize("precision", SCHEMES)
def test_a_row_says_the_same_whatever_is_beside_it(precision):
    model = ir.to_proto(quantized(product(256, 96), precision)[1])
    x = normal(40, 1, 256)
    x[1], x[3] = 0, x[3] * 300
    alone = np.concatenate([run(model, x=row[None])[0] for row in x])
    for count in (2, 8, 40):
        assert np.array_equal(run(model, x=x[:count])[0], alone[:count])


def test_an_outlier_spoils_its_own_block_alone():
    """One channel that is hundreds of times as large: a scale for the whole row loses the others, a scale for each block keeps them."""
    weight = normal(256, 48)
    weight[0] = 0  # nothing of the outlier itself is in the result
    proto = graph("g (float[B,256] x) => (float[B,48] y) { y = MatMul(x, W) }", W=weight)
    x = normal(4, 256)
    x[:, 0] = 1000
    exact = run(proto, x=x)[0]
    errors = {name: relative(run(ir.to_proto(quantized(proto, name)[1]), x=x)[0], exact) for name in ("int8", "int8-blocks")}
    assert errors["int8"] > 0.5
    assert errors["int8-blocks"] < 0.6 * errors["int8"]


def test_a_table_too_narrow_for_blocks_stays_exact():
    proto = graph("g (int64[B,T] ids) => (float[B,T,20] rows) { rows = Gather(E, ids) }", E=normal(80, 20))
    assert quantized(proto, "int4")[0::2] == (0, ["Gather"])
