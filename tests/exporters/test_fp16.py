"""Half precision: what is half and what is single, and that nothing overflows on the way."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from zen_edge.errors import CheckFailedError
from zen_edge.exporters.quantization import quantize
from zen_edge.exporters.quantization.fp16 import HEADROOM, LEAST
from zen_edge.exporters.widened import to_single

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


FEED_FORWARD = """g (float[B,S,64] x) => (float[B,S,64] y) {
    n = LayerNormalization(x, g, b)  p = MatMul(n, W)  r = Relu(p)  s = MatMul(r, V)  y = Add(x, s) }"""


def largest_in(proto: onnx.ModelProto, **feeds: np.ndarray) -> dict[str, float]:
    """What a measurement tells: the largest number of each value."""
    every = onnx.ModelProto.FromString(proto.SerializeToString())
    names = [output for node in proto.graph.node for output in node.output]
    every.graph.ClearField("output")
    every.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    return {name: float(np.abs(value).max()) for name, value in zip(names, run(every, **feeds), strict=True)}


@pytest.mark.parametrize(("loudness", "single"), [(1, ""), (60, "V"), (4000, "VW")])
def test_what_was_measured_to_be_large_stays_single(loudness, single):
    """The second product of a feed-forward part reaches millions before the sums do; louder still, the first does too."""
    weights = {"W": loudness * normal(64, 96), "V": loudness * normal(96, 64), "g": np.ones(64, np.float32), "b": np.zeros(64, np.float32)}
    proto, x = graph(FEED_FORWARD, **weights), normal(2, 3, 64)
    model = ir.from_proto(proto)
    measured = largest_in(proto, x=x)
    quantize(model, "fp16", measured)
    made = ir.to_proto(model)
    assert {tensor.name for tensor in made.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT} - {"g", "b"} == set(single)
    before, after = run(proto, x=x)[0], run(made, x=x)[0]
    assert np.isfinite(after).all()
    assert np.abs(before - after).max() < 0.01 * np.abs(before).max()
    assert (measured["s"] > -LEAST) == bool(single)  # ONNX Runtime on a CPU would hide that it overflows
    in_half = {value.name for node in model.graph for value in node.outputs if value.dtype == ir.DataType.FLOAT16 and node.op_type != "Cast"}
    assert all(measured.get(name, 0) < -LEAST / HEADROOM for name in in_half)


def test_attention_to_large_keys_stays_single():
    proto = graph(ATTENTION.replace("BIAS", ""), W=2000 * normal(64, 64), V=normal(64, 64) / 8)
    x, mask, bias = 4 * normal(2, 5, 64), np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], np.int32), np.zeros((1, 1, 5, 5), np.float32)
    model = ir.from_proto(proto)
    quantize(model, "fp16", largest_in(proto, x=x, mask=mask, bias=bias))
    (attention,) = (node for node in model.graph if node.op_type == "MultiHeadAttention")
    assert all(value.dtype != ir.DataType.FLOAT16 for value in attention.inputs if value is not None)
    assert np.isfinite(run(ir.to_proto(model), x=x, mask=mask, bias=bias)[0]).all()


class Layer(torch.nn.Module):
    """What is half in an export is half here, and what is single is single: computed by PyTorch in true half precision, not between casts."""

    def __init__(self, weights: dict[str, np.ndarray], bias: float) -> None:
        super().__init__()
        self.weights, self.bias = {name: torch.from_numpy(value) for name, value in weights.items()}, bias

    def forward(self, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """x (B,S,64) in single precision -> the same. The last third of the keys may not be seen."""
        W, V, g, b = (self.weights[name] for name in "WVgb")
        n = torch.nn.functional.layer_norm(x, (64,), g, b).to(dtype)
        q = (n @ W.to(dtype)).unflatten(-1, (4, 16)).transpose(1, 2)
        S = x.shape[1]
        mask = torch.zeros(S, dtype=dtype)
        mask[2 * S // 3 :] = max(self.bias, LEAST / 2) if dtype == torch.float16 else self.bias
        a = torch.nn.functional.scaled_dot_product_attention(q, q, q, attn_mask=mask.expand(S, S))
        s = a.transpose(1, 2).flatten(-2) @ V.to(dtype)
        return torch.nn.functional.layer_norm(x + s.float(), (64,), g, b)


@pytest.mark.parametrize("size", [1.0, 1e4, 1e6], ids=str)
@pytest.mark.parametrize("length", [6, 3000])
@pytest.mark.parametrize("lowest", [-1e9, float(np.finfo(np.float32).min)], ids=str)
def test_pytorchs_half_precision_does_not_overflow_either(size, length, lowest):
    """On a CPU ONNX Runtime computes in single precision between casts, and would hide an overflow: activations up to a million, 3,000 keys, masks."""
    layer = Layer({"W": normal(64, 64) / 8, "V": normal(64, 64) / 8, "g": normal(64), "b": normal(64)}, lowest)
    x = torch.from_numpy(size * normal(2, length, 64))
    exact, half = layer(x, torch.float32), layer(x, torch.float16)
    assert torch.isfinite(half).all()
    assert (exact - half).abs().max() < 0.02 * exact.abs().max()
    assert not torch.isfinite(x.half()).all() or size < 1e5  # a sum along the layers that no half could hold


def test_with_every_half_made_single_nothing_is_rounded():
    """With whole weights as exact as before, with rounded ones off by what rounding costs; a weight that is not the nearest half is told of."""
    proto = graph(ATTENTION.replace("BIAS", "bias"), W=normal(64, 64) / 8, V=normal(64, 64) / 8)
    feeds = {"x": normal(2, 5, 64), "mask": np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], np.int32), "bias": np.zeros((1, 1, 5, 5), np.float32)}
    feeds["bias"][..., 3:] = -1e9
    (before,) = run(proto, **feeds)
    off = {}
    for name, fresh in (("whole", ir.from_proto(proto).graph), ("rounded", None)):
        model = ir.from_proto(halved(proto)[0])
        to_single(model.graph, fresh)
        assert not [value for node in model.graph for value in node.outputs if value.dtype == ir.DataType.FLOAT16]
        off[name] = np.abs(run(ir.to_proto(model), **feeds)[0] - before).max()
    assert off["whole"] < 1e-5 < off["rounded"] < 0.01
    model = ir.from_proto(halved(proto)[0])
    wrong = model.graph.initializers["W.half"]
    wrong.const_value = ir.tensor(np.nextafter(wrong.const_value.numpy(), np.float16(9)), name="W.half")
    with pytest.raises(CheckFailedError, match=r"W\.half of the bundle is not the model's, rounded"):
        to_single(model.graph, ir.from_proto(proto).graph)
