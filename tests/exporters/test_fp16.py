"""Half precision: what is half and what is single, and that nothing overflows on the way."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from zen_edge.exporters.quantization import quantize

RANDOM = np.random.default_rng(1)
HEADER = '<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>'
LAYER = """g (float[B,S,64] x) => (float[B,S,64] y) {
    p = MatMul(x, W)  q = Add(p, b)  r = com.microsoft.QuickGelu(q)  s = MatMul(r, V)  t = Add(x, s)  y = LayerNormalization(t, g, b) }"""


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def graph(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f"{HEADER} {text}")
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    return onnx.shape_inference.infer_shapes(model)


def halved(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    model = ir.from_proto(proto)
    quantize(model, "fp16")
    made = ir.to_proto(model)
    onnx.checker.check_model(made)
    return made, [node.op_type for node in model.graph]


def run(proto: onnx.ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, feeds)


def test_sums_and_normalizations_stay_single():
    proto = graph(LAYER, W=normal(64, 64) / 8, V=normal(64, 64) / 8, b=normal(64), g=normal(64))
    made, ops = halved(proto)
    assert ops == ["Cast", "MatMul", "Add", "QuickGelu", "MatMul", "Cast", "Add", "LayerNormalization"]
    dtypes = {tensor.name: tensor.data_type for tensor in made.graph.initializer}
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    assert dtypes == {"W.half": half, "V.half": half, "b.half": half, "b": single, "g": single}
    x = normal(2, 3, 64)
    before, after = run(proto, x=x)[0], run(made, x=x)[0]
    assert 0 < np.abs(before - after).max() < 0.01


def test_a_sum_beyond_half_precision_does_not_overflow():
    proto = graph(LAYER, W=normal(64, 64) / 8, V=normal(64, 64) / 8, b=normal(64), g=normal(64))
    x = normal(2, 3, 64)
    x[..., 7] = 2e4
    before, after = (run(one, x=np.concatenate([x, x + 5e4]))[0] for one in (proto, halved(proto)[0]))
    assert np.isfinite(after).all()
    assert np.abs(before - after).max() < 0.05 * np.abs(before).max()


ATTENTION = """g (float[B,S,64] x, int32[B,S] mask, float[1,1,S,S] bias) => (float[B,S,64] y) {
    q = MatMul(x, W)  a = com.microsoft.MultiHeadAttention<num_heads=4, mask_filter_value=-3.4028235e38>(q, x, x, , mask, BIAS)  y = MatMul(a, V) }"""


@pytest.mark.parametrize("lowest", [-1e9, float(np.finfo(np.float32).min), -np.inf], ids=str)
def test_masks_stay_finite(lowest):
    """A key that no one may see, and a row that may see none, by mask and by bias."""
    text = ATTENTION.replace("BIAS", "bias")
    proto = graph(text, W=normal(64, 64) / 8, V=normal(64, 64) / 8)
    made, ops = halved(proto)
    assert "Max" in ops  # the bias is held above what half precision has
    (attention,) = (node for node in made.graph.node if node.op_type == "MultiHeadAttention")
    (value,) = (attribute.f for attribute in attention.attribute if attribute.name == "mask_filter_value")
    assert np.float16(value) == np.finfo(np.float16).min
    x, mask, bias = normal(2, 5, 64), np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], np.int32), np.zeros((1, 1, 5, 5), np.float32)
    bias[..., 3:] = lowest
    before, after = (run(one, x=x, mask=mask, bias=bias)[0] for one in (proto, made))
    assert np.isfinite(after).all()
    assert np.abs(before - after).max() < 0.01
    changed = x.copy()
    changed[:, 3:] = 7  # what may not be seen changes nothing that may
    (moved,) = run(made, x=changed, mask=mask, bias=bias)
    assert np.array_equal(moved[:, :3], after[:, :3])
    blind = run(made, x=x, mask=np.zeros_like(mask), bias=bias)[0]
    assert np.isfinite(blind).all()


def test_the_product_that_overflows_in_models_with_root_mean_square_normalization_stays_single():
    text = """g (float[B,S,64] x) => (float[B,S,64] y) {
        n = SimplifiedLayerNormalization<axis=-1>(x, g)  p = MatMul(n, W)  r = Relu(p)  s = MatMul(r, V)  y = Add(x, s) }"""
    proto = onnx.parser.parse_model(f"{HEADER} {text}")
    weights = {"W": 400 * normal(64, 96), "V": 400 * normal(96, 64), "g": np.ones(64, np.float32)}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    model = ir.from_proto(proto)
    quantize(model, "fp16")
    made = ir.to_proto(model)
    x = normal(2, 3, 64)
    before, after = run(proto, x=x)[0], run(made, x=x)[0]
    assert np.abs(before).max() > np.finfo(np.float16).max
    assert np.isfinite(after).all()
    assert np.abs(before - after).max() < 0.01 * np.abs(before).max()
    assert [tensor.data_type for tensor in made.graph.initializer if tensor.name == "V"] == [onnx.TensorProto.FLOAT]
