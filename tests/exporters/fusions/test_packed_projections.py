import numpy as np
import pytest

from zen_edge.exporters.fusions import packed_projections

TOLERANCE = 1e-5  # a wide product may add in another order

QKV = """g (float[B,S,16] x) => (float[B,S,8] y) {
    q0 = MatMul(x, Wq)  q = Add(q0, bq)  k0 = MatMul(x, Wk)  k = Add(bk, k0)  v0 = MatMul(x, Wv)  v = Add(v0, bv)
    qk = Mul(q, k)  y = Sub(qk, v) }"""


@pytest.fixture
def packed(fused):
    """packed(text, **weights): the fusion made in a decoding step, which the graph of `text` becomes with keys of the past as an input."""
    return lambda text, **weights: fused(packed_projections.apply, text.replace("g (", "g (float[B,T] past_key_0, ", 1), **weights)


def weights(weight, *names):
    return {name: weight(8) if name.startswith("b") else weight(16, 8) for name in names}


def test_three_projections_become_one(packed, weight):
    made = packed(QKV, **weights(weight, "Wq", "Wk", "Wv", "bq", "bk", "bv"))
    assert (made.made, made.ops) == (1, ["MatMul", "Add", "Split", "Mul", "Sub"])
    assert sorted(made.model.graph.initializers) == ["Wq.packed", "Wq.packed.bias", "Wq.packed.sizes"]
    assert made.worst() < TOLERANCE


def test_a_graph_that_reads_whole_inputs_stays(fused, weight):
    made = fused(packed_projections.apply, QKV, **weights(weight, "Wq", "Wk", "Wv", "bq", "bk", "bv"))
    assert (made.made, made.ops) == (0, ["MatMul", "Add", "MatMul", "Add", "MatMul", "Add", "Mul", "Sub"])


def test_widths_may_differ(packed, weight):
    graph = "g (float[B,S,16] x) => (float[B,S,12] y) { a0 = MatMul(x, Wa)  a = Add(a0, ba)  c0 = MatMul(x, Wc)  c = Add(c0, bc)  y = Concat<axis=-1>(c, a) }"
    made = packed(graph, Wa=weight(16, 3), ba=weight(3), Wc=weight(16, 9), bc=weight(9))
    assert (made.made, made.ops) == (1, ["MatMul", "Add", "Split", "Concat"])
    assert made.worst() < TOLERANCE


def test_one_may_lack_a_bias(packed, weight):
    made = packed(QKV.replace("k = Add(bk, k0)", "k = Identity(k0)"), **weights(weight, "Wq", "Wk", "Wv", "bq", "bv"))
    assert (made.made, made.ops) == (1, ["MatMul", "Add", "Split", "Identity", "Mul", "Sub"])
    assert made.worst() < TOLERANCE


def test_without_any_bias_nothing_is_added(packed, weight):
    graph = "g (float[B,S,16] x) => (float[B,S,8] y) { a = MatMul(x, Wa)  c = MatMul(x, Wc)  y = Mul(a, c) }"
    made = packed(graph, **weights(weight, "Wa", "Wc"))
    assert (made.made, made.ops) == (1, ["MatMul", "Split", "Mul"])
    assert made.worst() < TOLERANCE


def test_a_bias_of_another_width_is_added_afterwards(packed, weight):
    """A single number broadcasts; joined with the others it would shift them."""
    made = packed(QKV, **(weights(weight, "Wq", "Wk", "Wv", "bq", "bv") | {"bk": weight(1)}))
    assert (made.made, made.ops) == (1, ["MatMul", "Add", "Split", "Add", "Mul", "Sub"])
    assert made.worst() < TOLERANCE


def test_a_bias_for_every_position_is_added_afterwards(packed, weight):
    made = packed(QKV, **(weights(weight, "Wq", "Wk", "Wv", "bq", "bv") | {"bk": weight(1, 1, 8)}))
    assert (made.made, made.ops) == (1, ["MatMul", "Add", "Split", "Add", "Mul", "Sub"])
    assert made.worst() < TOLERANCE


def test_a_product_read_without_its_bias_too_is_packed_without_it(packed, weight):
    graph = QKV.replace("y = Sub(qk, v)", "w = Sub(qk, v)  y = Add(w, q0)")
    made = packed(graph, **weights(weight, "Wq", "Wk", "Wv", "bq", "bk", "bv"))
    assert (made.made, made.ops) == (1, ["MatMul", "Add", "Split", "Add", "Mul", "Sub", "Add"])
    assert made.worst() < TOLERANCE


def test_a_graph_output_is_left_out(packed, weight):
    graph = QKV.replace("(float[B,S,8] y)", "(float[B,S,8] y, float[B,S,8] k)")
    made = packed(graph, **weights(weight, "Wq", "Wk", "Wv", "bq", "bk", "bv"))
    assert (made.made, made.ops) == (1, ["MatMul", "Add", "Split", "MatMul", "Add", "Mul", "Sub"])
    assert made.worst() < TOLERANCE


def test_a_product_that_is_a_graph_output_is_left_out(packed, weight):
    graph = QKV.replace("(float[B,S,8] y)", "(float[B,S,8] y, float[B,S,8] k0)")
    made = packed(graph, **weights(weight, "Wq", "Wk", "Wv", "bq", "bk", "bv"))
    assert (made.made, made.ops) == (1, ["MatMul", "Add", "Split", "MatMul", "Add", "Mul", "Sub"])
    assert made.worst() < TOLERANCE


def test_two_of_which_one_is_a_graph_output_stay(packed, weight):
    graph = "g (float[B,S,16] x) => (float[B,S,8] a, float[B,S,8] y) { a = MatMul(x, Wa)  c = MatMul(x, Wc)  y = Relu(c) }"
    made = packed(graph, **weights(weight, "Wa", "Wc"))
    assert (made.made, made.ops) == (0, ["MatMul", "MatMul", "Relu"])


def test_other_inputs_stay_apart(packed, weight):
    graph = "g (float[B,S,16] x, float[B,S,16] z) => (float[B,S,8] y) { a = MatMul(x, Wa)  c = MatMul(z, Wc)  y = Mul(a, c) }"
    made = packed(graph, **weights(weight, "Wa", "Wc"))
    assert (made.made, made.ops) == (0, ["MatMul", "MatMul", "Mul"])


def test_computed_and_stacked_weights_stay(packed, weight):
    graph = "g (float[2,S,16] x, float[16,8] Wa) => (float[2,S,8] y) { a = MatMul(x, Wa)  c = MatMul(x, Wc)  ac = Mul(a, c)  d = MatMul(x, Wd)  y = Mul(ac, d) }"
    made = packed(graph, Wc=weight(16, 8), Wd=weight(2, 16, 8))
    assert (made.made, made.ops) == (0, ["MatMul", "MatMul", "Mul", "MatMul", "Mul"])


def test_a_constant_input_stays(packed, weight):
    graph = "g (float[B,S,8] x) => (float[B,S,8] y) { a = MatMul(w, Wa)  c = MatMul(w, Wc)  ac = Mul(a, c)  y = Add(x, ac) }"
    made = packed(graph, w=weight(1, 16), **weights(weight, "Wa", "Wc"))
    assert (made.made, made.ops) == (0, ["MatMul", "MatMul", "Mul", "Add"])


def test_a_weight_shared_by_two_groups_is_packed_with_each_groups_own(packed, weight):
    """Layers that share one projection and not the other: each pack holds the right pair."""
    graph = """g (float[B,S,16] x, float[B,S,16] z) => (float[B,S,8] y) {
        a0 = MatMul(x, W)  a = Add(a0, b)  c = MatMul(x, Wc)  d0 = MatMul(z, W)  d = Add(d0, e)  f = MatMul(z, Wf)
        ac = Mul(a, c)  df = Mul(d, f)  y = Sub(ac, df) }"""
    made = packed(graph, **weights(weight, "W", "Wc", "Wf", "b", "e") | {"b": weight(8), "e": weight(8)})
    assert (made.made, made.ops) == (2, ["MatMul", "Add", "Split", "MatMul", "Add", "Split", "Mul", "Mul", "Sub"])
    assert made.worst() < TOLERANCE


def test_one_weight_used_twice_on_one_input(packed, weight):
    graph = "g (float[B,S,16] x) => (float[B,S,8] y) { a0 = MatMul(x, W)  a = Add(a0, b)  c = MatMul(x, W)  y = Mul(a, c) }"
    made = packed(graph, W=weight(16, 8), b=weight(8))
    assert (made.made, made.ops) == (1, ["MatMul", "Add", "Split", "Mul"])
    assert made.worst() < TOLERANCE


def test_inputs_of_two_and_one_axes(packed, weight):
    for shape in ("B,16", "16"):
        graph = f"g (float[{shape}] x) => (float[{shape.replace('16', '8')}] y) {{ a = MatMul(x, Wa)  c0 = MatMul(x, Wc)  c = Add(c0, b)  y = Mul(a, c) }}"
        made = packed(graph, Wa=weight(16, 8), Wc=weight(16, 8), b=weight(8))
        assert (made.made, made.ops) == (1, ["MatMul", "Add", "Split", "Mul"])
        assert made.worst() < TOLERANCE


def test_the_joined_weight_is_made_when_it_is_read(packed, weight):
    given = weights(weight, "Wq", "Wk", "Wv", "bq", "bk", "bv")
    made = packed(QKV, **given)
    packed = made.model.graph.initializers["Wq.packed"].const_value
    assert tuple(packed.shape) == (16, 24)
    assert np.array_equal(packed.numpy(), np.concatenate([given["Wq"], given["Wk"], given["Wv"]], axis=1))
