import numpy as np
import pytest

from zen_edge.exporters.fusions import skip_layer_normalization

TOLERANCE = 2e-5

POST = "g (float[B,S,8] x, float[B,S,8] skip) => (float[B,S,8] y) { h = Add(x, b)  t = Add(h, skip)  y = LayerNormalization<epsilon=0.001>(t, gain, shift) }"


@pytest.fixture
def weights(weight):
    return {"b": weight(8), "gain": weight(8), "shift": weight(8)}


@pytest.mark.parametrize(("h", "t"), [("Add(x, b)", "Add(h, skip)"), ("Add(b, x)", "Add(skip, h)")])
def test_bias_residual_and_normalization_become_one(fused, weights, h, t):
    made = fused(skip_layer_normalization.apply, POST.replace("Add(x, b)", h).replace("Add(h, skip)", t), **weights)
    assert (made.made, made.ops) == (1, ["microsoft.SkipLayerNormalization"])
    (node,) = made.model.graph
    assert (len(node.inputs), len(node.outputs)) == (5, 1)
    assert made.worst() < TOLERANCE


def test_without_a_bias(fused, weights):
    made = fused(skip_layer_normalization.apply, POST.replace("Add(x, b)", "Neg(x)"), **weights)
    assert (made.made, made.ops) == (1, ["Neg", "microsoft.SkipLayerNormalization"])
    assert made.worst() < TOLERANCE


def test_the_epsilon_is_kept(fused, weights):
    made = fused(skip_layer_normalization.apply, POST.replace("0.001", "100.0"), **weights)
    assert made.made == 1
    assert made.worst() < TOLERANCE


def test_the_default_epsilon_is_the_same(fused, weights):
    made = fused(skip_layer_normalization.apply, POST.replace("<epsilon=0.001>", "<axis=2>"), **(weights | {"b": np.zeros(8, np.float32)}))
    assert made.made == 1
    row = np.linspace(-1e-3, 1e-3, 8, dtype=np.float32).reshape(1, 1, 8)  # so small that epsilon decides
    (old,), (new,) = made.run(x=row, skip=row)
    assert np.abs(old - new).max() < TOLERANCE


def test_a_value_added_to_itself(fused, weights):
    made = fused(skip_layer_normalization.apply, POST.replace("Add(h, skip)", "Add(h, h)").replace(", float[B,S,8] skip", ""), **weights)
    assert (made.made, made.ops) == (1, ["Add", "microsoft.SkipLayerNormalization"])
    assert made.worst() < TOLERANCE


PRE = """g (float[B,S,8] x, float[B,S,8] skip) => (float[B,S,8] y) {
    h = Add(x, b)  t = Add(h, skip)  n = LayerNormalization<epsilon=0.001>(t, gain, shift)
    f = Neg(n)  c = Add(f, b)  u = Add(t, c)  y = LayerNormalization<epsilon=0.001>(u, gain, shift) }"""


def test_the_sum_that_the_next_residual_reads_leaves_the_operator(fused, weights):
    """Pre-norm: what is normalized is also what the layer is added to."""
    made = fused(skip_layer_normalization.apply, PRE, **weights)
    assert (made.made, made.ops) == (2, ["microsoft.SkipLayerNormalization", "Neg", "microsoft.SkipLayerNormalization"])
    assert made.worst() < TOLERANCE


def test_a_sum_that_is_read_before_it_is_normalized(fused, weights):
    """The reader stands in front of the normalization in the file, and has to move behind it."""
    graph = "g (float[B,S,8] x, float[B,S,8] skip) => (float[B,S,8] y) { t = Add(x, skip)  r = Neg(t)  n = LayerNormalization(t, gain, shift)  y = Mul(r, n) }"
    made = fused(skip_layer_normalization.apply, graph, **weights)
    assert (made.made, made.ops) == (1, ["microsoft.SkipLayerNormalization", "Neg", "Mul"])
    assert made.worst() < TOLERANCE


def test_a_sum_that_is_a_graph_output_keeps_its_name(fused, weights):
    made = fused(skip_layer_normalization.apply, POST.replace("(float[B,S,8] y)", "(float[B,S,8] y, float[B,S,8] t)"), **weights)
    assert (made.made, made.ops) == (1, ["microsoft.SkipLayerNormalization"])
    assert made.worst() < TOLERANCE


def test_a_sum_normalized_twice_is_fused_once(fused, weights):
    graph = POST.replace("y = Layer", "n = Layer").replace(" }", "  m = LayerNormalization(t, shift, gain)  y = Mul(n, m) }")
    made = fused(skip_layer_normalization.apply, graph, **weights)
    assert (made.made, made.ops) == (1, ["microsoft.SkipLayerNormalization", "LayerNormalization", "Mul"])
    assert made.worst() < TOLERANCE


def test_a_biased_value_that_is_read_elsewhere_keeps_its_own_addition(fused, weights):
    made = fused(skip_layer_normalization.apply, POST.replace("y = Layer", "n = Layer").replace(" }", "  y = Mul(n, h) }"), **weights)
    assert (made.made, made.ops) == (1, ["Add", "microsoft.SkipLayerNormalization", "Mul"])
    assert made.worst() < TOLERANCE


def test_a_bias_of_another_shape_keeps_its_own_addition(fused, weights, weight):
    for shape in ((1,), (1, 1, 8)):
        made = fused(skip_layer_normalization.apply, POST, **(weights | {"b": weight(*shape)}))
        assert (made.made, made.ops) == (1, ["Add", "microsoft.SkipLayerNormalization"])
        assert made.worst() < TOLERANCE


def test_a_bias_that_widens_keeps_its_own_addition(fused, weights):
    made = fused(skip_layer_normalization.apply, POST.replace("float[B,S,8] x", "float[B,S,1] x"), **weights)
    assert (made.made, made.ops) == (1, ["Add", "microsoft.SkipLayerNormalization"])
    assert made.worst() < TOLERANCE


STAY = ["Add", "Add", "LayerNormalization"]


@pytest.mark.parametrize(
    ("graph", "ops"),
    [
        (POST.replace("<epsilon=0.001>", "<axis=1>"), STAY),
        (POST.replace("float[B,S,8] skip", "float[1,S,8] skip"), STAY),
        (POST.replace("float[B,S,8] skip", "float[B,S2,8] skip"), STAY),
        (POST.replace("Add(h, skip)", "Add(h, table)").replace(", float[B,S,8] skip", ""), STAY),
        (POST.replace("Add(h, skip)", "Mul(h, skip)"), ["Add", "Mul", "LayerNormalization"]),
        (POST.replace("t, gain, shift", "t, gain"), STAY),
        (POST.replace("t, gain, shift", "t, one, shift"), STAY),
        (POST.replace("t, gain, shift", "t, gain, cube"), STAY),
        (POST.replace("y = Layer", "y, mean = Layer").replace("(float[B,S,8] y)", "(float[B,S,8] y, float[B,S,1] mean)"), STAY),
        (POST.replace("B,S,8", "B,8"), STAY),
        (POST.replace("B,S,8", "B,S,2,8"), STAY),
        ("g (float[B,S,8] x) => (float[B,S,8] y) { y = LayerNormalization(x, gain, shift) }", ["LayerNormalization"]),
    ],
    ids=[
        "another axis", "skip of one row", "a length that may differ", "a constant skip", "a product", "no shift", "one gain for all", "shift of three axes",
        "mean wanted", "two axes", "four axes", "no residual",
    ],
)  # fmt: skip
def test_what_the_operator_does_not_do_stays(fused, weights, weight, graph, ops):
    made = fused(skip_layer_normalization.apply, graph, **weights, table=weight(1, 1, 8), one=weight(1), cube=weight(1, 1, 8))
    assert (made.made, made.ops) == (0, ops)


def test_gains_that_are_computed_from_the_sum_stay(fused, weights):
    """The operator would have to give the sum before it has its gains."""
    graph = """g (float[8] x, float[1,1,8] skip) => (float[1,1,8] y) <float[1,1,8] t, float[8] g> {
        h = Reshape(x, cube)  t = Add(h, skip)  g = Reshape(t, flat)  y = LayerNormalization(t, g, shift) }"""
    made = fused(skip_layer_normalization.apply, graph, shift=weights["shift"], cube=np.array([1, 1, 8], np.int64), flat=np.array([8], np.int64))
    assert (made.made, made.ops) == (0, ["Reshape", "Add", "Reshape", "LayerNormalization"])
