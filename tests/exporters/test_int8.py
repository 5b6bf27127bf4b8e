"""int8: the numbers, what is quantized and what is not, rows that do not depend on each other, and sums that must not saturate."""

import tracemalloc

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes
import onnxruntime
import pytest

from zen_edge.exporters.quantization import int8, quantize
from zen_edge.exporters.weights import save_graphs
from zen_edge.runtimes import session

RANDOM = np.random.default_rng(1)
ROWS = ["Abs", "ReduceMax", "Div", "QuantizeLinear", "MatMulIntegerToFloat", "Mul"]
HEADER = '<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>'


def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (RANDOM.standard_normal(shape) * scale).astype(np.float32)


def graph(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f"{HEADER} {text}")
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    return model


def quantized(proto: onnx.ModelProto) -> tuple[int, ir.Model, list[str]]:
    model = ir.from_proto(proto)
    return quantize(model, "int8"), model, [node.op_type for node in model.graph]


def run(proto: onnx.ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    for name, value in session.settings().items():
        options.add_session_config_entry(name, value)
    return onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, feeds)


def relative(ours: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(ours - exact) / np.linalg.norm(exact))


# The numbers


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("spread", [1e-6, 1.0, 1e6])
def test_weights_are_symmetric_and_scaled_by_channel(axis, spread):
    weight = normal(48, 32, scale=spread) * np.logspace(-3, 3, 32, dtype=np.float32)
    table, scale = int8.quantize(weight, axis)
    assert (table.dtype, scale.dtype) == (np.int8, np.float32)
    assert scale.shape == (weight.shape[1 - axis],)
    assert np.abs(table.astype(int)).max(axis=axis).tolist() == [127] * len(scale)
    assert table.min() >= -127


@pytest.mark.parametrize("axis", [0, 1])
def test_no_weight_is_off_by_more_than_half_a_step(axis):
    weight = normal(64, 64) ** 3  # long tails
    table, scale = int8.quantize(weight, axis)
    steps = np.abs(table.astype(np.float64) - weight.astype(np.float64) / np.expand_dims(scale, axis))
    assert steps.max() <= 0.5 + 1e-4


@pytest.mark.parametrize("axis", [0, 1])
def test_a_channel_of_zeros_stays_zero(axis):
    weight = normal(20, 20)
    weight[3, :], weight[:, 3] = 0, 0
    table, scale = int8.quantize(weight, axis)
    assert np.isfinite(scale).all()
    assert (scale > 0).all()
    assert not table[3].any()
    assert not table[:, 3].any()


def test_quantizing_twice_gives_the_same_bytes():
    weight = normal(64, 48)
    proto = graph("g (float[B,S,64] x) => (float[B,S,48] y) { y = MatMul(x, W) }", W=weight)
    first, second = (ir.to_proto(quantized(proto)[1]).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
    assert all(a.tobytes() == b.tobytes() for a, b in zip(int8.quantize(weight, 0), int8.quantize(weight, 0), strict=True))


# What is quantized


def test_a_product_with_its_bias():
    proto = graph("g (float[B,S,64] x) => (float[B,S,48] y) { p = MatMul(x, W)  y = Add(p, b) }", W=normal(64, 48), b=normal(48))
    made, model, ops = quantized(proto)
    assert (made, ops) == (1, [*ROWS, "Add"])
    stored = {name: str(value.dtype) for name, value in model.graph.initializers.items() if not name.startswith("int8.")}
    assert stored == {"W.int8": "INT8", "W.scale": "FLOAT", "b": "FLOAT"}
    x = normal(3, 5, 64)
    assert relative(run(ir.to_proto(model), x=x)[0], run(proto, x=x)[0]) < 0.02


@pytest.mark.parametrize("shape", [(1,), (1, 1, 48)], ids=str)
def test_another_summand_stays_apart(shape):
    proto = graph("g (float[B,S,64] x) => (float[B,S,48] y) { p = MatMul(x, W)  y = Add(b, p) }", W=normal(64, 48), b=normal(*shape))
    made, model, ops = quantized(proto)
    assert (made, ops) == (1, [*ROWS, "Add"])
    x = normal(3, 5, 64)
    assert relative(run(ir.to_proto(model), x=x)[0], run(proto, x=x)[0]) < 0.02


def test_a_product_that_is_also_read_without_its_bias_keeps_the_addition():
    text = "g (float[B,S,64] x) => (float[B,S,48] y, float[B,S,48] p) { p = MatMul(x, W)  y = Add(p, b) }"
    _, _, ops = quantized(graph(text, W=normal(64, 48), b=normal(48)))
    assert ops == [*ROWS, "Add"]


TIED = """g (int64[B,T] ids, float[B,S,64] x) => (float[B,T,64] rows, float[B,S,80] logits) {
    rows = Gather(E, ids)  logits = com.microsoft.FusedMatMul<transB=1>(x, E) }"""


def test_the_embedding_and_the_head_tied_to_it_share_one_table():
    embedding = normal(80, 64)
    proto = graph(TIED, E=embedding)
    made, model, ops = quantized(proto)
    assert made == 2
    assert sorted(ops) == sorted([*ROWS, "Cast", "Gather", "Gather", "Mul", "Transpose", "Unsqueeze"])
    tables = [value for value in model.graph.initializers.values() if value.dtype == ir.DataType.INT8]
    assert [tuple(value.shape) for value in tables] == [(80, 64)]
    ids, x = np.array([[0, 79, 5]]), normal(1, 4, 64)
    rows, logits = run(ir.to_proto(model), ids=ids, x=x)
    assert np.abs(rows - embedding[ids]).max() <= np.abs(embedding).max() / 127 * 0.51
    assert relative(logits, x @ embedding.T) < 0.02


@pytest.mark.parametrize("first", ["turned", "plain"])
def test_one_matrix_summed_over_either_axis_has_a_table_for_each(first):
    """The scales of one would be wrong for the other."""
    products = {"turned": "a = com.microsoft.FusedMatMul<transB=1>(x, W)", "plain": "c = MatMul(x, W)"}
    order = [first, *(name for name in products if name != first)]
    weight = normal(64, 64) * np.logspace(-2, 2, 64, dtype=np.float32)
    proto = graph(f"g (float[B,64] x) => (float[B,64] a, float[B,64] c) {{ {'  '.join(products[name] for name in order)} }}", W=weight)
    made, model, _ = quantized(proto)
    assert made == 2
    x = normal(3, 64)
    for ours, exact in zip(run(ir.to_proto(model), x=x), run(proto, x=x), strict=True):
        assert relative(ours, exact) < 0.05


def test_a_matrix_read_by_two_products_is_quantized_once():
    proto = graph("g (float[B,64] x, float[B,64] z) => (float[B,48] a, float[B,48] c) { a = MatMul(x, W)  c = MatMul(z, W) }", W=normal(64, 48))
    made, model, ops = quantized(proto)
    assert (made, ops) == (2, [*ROWS, *ROWS])
    assert [name for name in sorted(model.graph.initializers) if not name.startswith("int8.")] == ["W.int8", "W.scale"]


@pytest.mark.parametrize(
    ("text", "ops"),
    [
        ("g (float[B,S,64] x) => (float[S,64] y) { n = Shape<start=1, end=2>(x)  r = Squeeze(n)  p = Range(zero, r, one)  y = Gather(E, p) }", 4),
        ("g (int64[T] ids) => (float[80,T] y) { y = Gather<axis=1>(E, ids) }", 1),
        ("g (int64[T] ids) => (float[T,8] y) { y = Gather(thin, ids) }", 1),
        ("g (float[B,64] x, float[64,48] C) => (float[B,48] y) { y = MatMul(x, C) }", 1),
        ("g (float[B,64] x) => (float[B,8] y) { y = MatMul(x, narrow) }", 1),
        ("g (float[2,S,64] x) => (float[2,S,48] y) { y = MatMul(x, stacked) }", 1),
        ("g (float[80,B] x) => (float[B,64] y) { y = com.microsoft.FusedMatMul<transA=1>(x, E) }", 1),
        ("g (float[B,64] x) => (float[B,80] y) { y = com.microsoft.FusedMatMul<transB=1, alpha=0.5>(x, E) }", 1),
        ("g (float[B,80] x) => (float[B,64] y) { y = com.microsoft.FusedMatMul(x, E) }", 1),
        ("g (double[B,64] x) => (double[B,48] y) { y = MatMul(x, exact) }", 1),
    ],
    ids=["positions", "columns", "thin table", "computed", "narrow", "stacked", "transA", "alpha", "not turned", "double"],
)
def test_what_stays_exact(text, ops):
    weights = {"E": normal(80, 64), "thin": normal(80, 8), "narrow": normal(64, 8), "stacked": normal(2, 64, 48)}
    weights |= {"exact": normal(64, 48).astype(np.float64), "zero": np.array(0, np.int64), "one": np.array(1, np.int64)}
    used = {name: array for name, array in weights.items() if f"({name}," in text or f" {name})" in text or f" {name}," in text}
    proto = graph(text, **used)
    before = [node.op_type for node in proto.graph.node]
    assert quantized(proto)[0::2] == (0, before)
    assert len(before) == ops


def test_a_bundle_holds_each_table_once(demo_int8):
    """The word table serves both graphs; positions are looked up in float32."""
    encoder, decoder = (ir.load(demo_int8 / f"{name}.onnx") for name in ("encoder", "decoder"))
    places = {}
    for model in (encoder, decoder):
        tables = [value.const_value for value in model.graph.initializers.values() if value.dtype == ir.DataType.INT8 and value.shape[0] == 8001]
        assert len(tables) == 1
        places[model.graph.name] = (tables[0].offset, tables[0].length)
        positions = [node.inputs[0] for node in model.graph if node.op_type == "Gather" and node.inputs[0].shape == ir.Shape([256, 256])]
        assert [value.dtype for value in positions] == [ir.DataType.FLOAT]
    assert places["encoder"] == places["decoder"]
    assert (demo_int8 / "weights.bin").stat().st_size < 1.1 * 6.8e6  # a byte a weight and little else


# Rows


OUTLIER = 300.0


def test_a_row_says_the_same_whatever_is_beside_it():
    """Not a bit of a row changes with the others: not with a padded row of zeros, nor with one that is hundreds of times as large."""
    proto = graph("g (float[B,64] x) => (float[B,48] y) { p = MatMul(x, W)  y = Add(p, b) }", W=normal(64, 48), b=normal(48))
    model = ir.to_proto(quantized(proto)[1])
    x = normal(5, 64)
    x[1], x[3] = 0, x[3] * OUTLIER
    alone = np.concatenate([run(model, x=row[None])[0] for row in x])
    together = run(model, x=x)[0]
    assert np.array_equal(alone, together)
    exact = run(proto, x=x)[0]
    assert max(relative(ours, told) for ours, told in zip(together, exact, strict=True)) < 0.02  # of every row by itself


def test_one_scale_for_all_rows_would_lose_those_beside_an_outlier():
    """Why it is not ONNX Runtime's DynamicQuantizeMatMul."""
    weight, x = normal(64, 48), normal(5, 64)
    table, scale = int8.quantize(weight, 0)
    proto = graph("g (float[B,64] x) => (float[B,48] y) { y = com.microsoft.DynamicQuantizeMatMul(x, T, S) }", T=table, S=scale)
    before = relative(run(proto, x=x)[0][0], (x @ weight)[0])
    x[3] *= OUTLIER
    assert before < 0.02
    assert relative(run(proto, x=x)[0][0], (x @ weight)[0]) > 0.2


# Sums that saturate


def saturating_product(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """u8 (M,K) times s8 (K,N) as x86 without VNNI does it at full speed (vpmaddubsw): neighbouring products are summed in 16 bits, and held there."""
    pairs = activations.astype(np.int64)[:, :, None] * weights.astype(np.int64)[None]  # (M,K,N)
    sums = pairs[:, 0::2] + pairs[:, 1::2]
    return np.clip(sums, -(2**15), 2**15 - 1).sum(axis=1)


def test_which_sums_of_two_products_saturate():
    """Two full activations on weights beyond +-64 do; one of the two alone never does, nor do weights of seven bits."""
    for activation, weight, saturates in (
        (255, 127, True),
        (255, 65, True),
        (255, 64, False),
        (130, 127, True),
        (129, 127, False),
        (255, -127, True),
        (255, -64, False),
    ):
        a, w = np.full((1, 2), activation, np.uint8), np.full((2, 1), weight, np.int8)
        assert (saturating_product(a, w)[0, 0] != 2 * activation * weight) == saturates, (activation, weight)
    one = np.array([[255, 0]], np.uint8)
    assert saturating_product(one, np.full((2, 1), 127, np.int8))[0, 0] == 255 * 127


@pytest.mark.parametrize(
    ("flags", "exact"),
    [
        ({"avx", "avx2"}, True),
        ({"avx2", "avx512f"}, True),
        ({"avx2", "avx_vnni"}, False),
        ({"avx512_vnni"}, False),
        ({"asimd"}, False),
        (set(), False),
    ],
)
def test_the_runtime_asks_for_sums_that_do_not_saturate_where_they_would(flags, exact, monkeypatch):
    monkeypatch.setattr(session, "cpu_flags", lambda: ("", frozenset(flags)))
    assert ("session.x64quantprecision" in session.settings()) is exact


def test_a_product_that_would_saturate_is_exact():
    """Large activations on large weights of one sign: held in 16 bits a third of the sum is lost; the runtime loses none."""
    weight, x = 1 + 0.1 * np.abs(normal(64, 48)), 4 + np.abs(normal(4, 64))
    table, scale = int8.quantize(weight, 0)
    step = x.max(axis=1, keepdims=True) / 127
    whole = np.rint(x / step).astype(np.uint8) + 128  # as the graph does: 128 stands for zero, and is taken off the sums
    held = (saturating_product(whole, table) - 128 * table.astype(np.int64).sum(axis=0)) * step * scale
    assert relative(held, x @ weight) > 0.1
    proto = graph("g (float[B,64] x) => (float[B,48] y) { y = MatMul(x, W) }", W=weight)
    _, model, _ = quantized(proto)
    assert relative(run(ir.to_proto(model), x=x)[0], x @ weight) < 0.01


def test_the_graph_is_still_sound_after_ordinary_passes():
    _, model, _ = quantized(graph(TIED, E=normal(80, 64)))
    passes.CommonSubexpressionEliminationPass()(model)
    passes.RemoveUnusedNodesPass()(model)
    onnx.checker.check_model(ir.to_proto(model))


def peak_of(folder, precision: str, count: int) -> int:
    """Bytes that quantizing `count` products of 512 x 512 and writing them takes at most."""
    steps = "  ".join(f"h{i + 1} = MatMul(h{i}, w{i})" for i in range(count))
    weights = {f"w{i}": normal(512, 512) for i in range(count)}
    proto = graph(f"g (float[B,512] x) => (float[B,512] h{count}) {{ h0 = Neg(x)  {steps} }}", **weights)
    save_graphs({"before": ir.from_proto(proto)}, folder)
    model = ir.load(folder / "before.onnx")
    (folder / precision).mkdir()
    tracemalloc.start()
    assert quantize(model, precision) == count
    save_graphs({"after": model}, folder / precision)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (folder / precision / "weights.bin").stat().st_size > count * 512 * 512 / 2
    return peak


@pytest.mark.parametrize("precision", ["int8", "int8-blocks", "int4", "fp16"])
def test_one_weight_at_a_time_is_held_in_another_precision(tmp_path, precision):
    """What a large model is quantized in does not grow with the number of its weights."""
    few, many = (peak_of(tmp_path / str(count), precision, count) for count in (4, 34) if (tmp_path / str(count)).mkdir() is None)
    assert many - few < 512 * 512 * 4  # thirty more weights of 4 bits are four times that
