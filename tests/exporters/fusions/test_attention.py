import numpy as np
import pytest

from zen_edge.exporters.fusions import attention, einsum, transposes
from zen_edge.graphs import REASON

# q (B,S,4), k (B,T,4), v (B,T,6), one head; and by head (B,2,S|T,4), from (B,S|T,8).
ONE = """g (float[B,S,4] q, float[B,T,4] k, float[B,T,6] v) => (float[B,S,6] y) <float[B,4,T] kt, float[B,S,T] s, float[B,S,T] c, float[B,S,T] w> {
    kt = Transpose<perm=[0,2,1]>(k)  s = MatMul(q, kt)  c = Div(s, two)  w = Softmax<axis=-1>(c)  y = MatMul(w, v) }"""
HEADS = """g (float[B,S,8] x, float[B,T,8] m, float[B,1,1,T] add) => (float[B,S,8] y) <float[B,S,2,4] xs, float[B,T,2,4] ms, float[B,2,S,4] q,
    float[B,2,4,T] k, float[B,2,T,4] v, float[B,2,S,T] s, float[B,2,S,T] c, float[B,2,S,T] b, float[B,2,S,T] w, float[B,2,S,4] o, float[B,S,2,4] ot> {
    xs = Reshape(x, apart)  q = Transpose<perm=[0,2,1,3]>(xs)  ms = Reshape(m, apart)  k = Transpose<perm=[0,2,3,1]>(ms)
    v = Transpose<perm=[0,2,1,3]>(ms)  s = MatMul(q, k)  c = Mul(half, s)  b = Add(c, add)  w = Softmax(b)  o = MatMul(w, v)
    ot = Transpose<perm=[0,2,1,3]>(o)  y = Reshape(ot, whole) }"""
APART, WHOLE = {"apart": np.array([0, 0, 2, 4])}, {"whole": np.array([0, 0, 8])}
HALF, TWO = np.float32(0.5), np.float32(2)
OPERATOR = "microsoft.MultiHeadAttention"


def all_of(graph):
    einsum.apply(graph)
    made = attention.apply(graph)
    transposes.apply(graph)
    return made


def operator(made):
    (node,) = [node for node in made.model.graph if node.op_type == "MultiHeadAttention"]
    return node.attributes.get_int("num_heads", 0), node.attributes.get_float("scale", 0.0)


def reasons(made):
    return [node.metadata_props[REASON] for node in made.model.graph if REASON in node.metadata_props]


def test_one_head_with_lengths_of_its_own(fused):
    made = fused(attention.apply, ONE, two=TWO)
    assert (made.made, made.ops, operator(made)) == (1, [OPERATOR], (1, 0.5))
    assert made.worst() < 1e-6


def test_heads_by_transpose_and_a_mask_that_is_added(fused):
    made = fused(all_of, HEADS, half=HALF, **APART, **WHOLE)
    assert (made.made, operator(made)) == (1, (2, 0.5))
    assert [op for op in made.ops if op in ("MatMul", "Softmax", "Transpose")] == []
    assert made.worst() < 1e-6


@pytest.mark.parametrize("fill", [-1e4, -1e9, float("-inf"), np.finfo(np.float32).min])
def test_a_score_that_is_replaced_gets_no_weight(fused, fill):
    """Rows without any key are even for a finite number and not a number for minus infinity, as they were."""
    text = ONE.replace("float[B,T,6] v)", "float[B,T,6] v, float[B,S,T] m)").replace("<float", "<bool[B,S,T] seen, float[B,S,T] f, float", 1)
    text = text.replace("w = Softmax<axis=-1>(c)", "seen = Greater(m, low)  f = Where(seen, c, fill)  w = Softmax<axis=-1>(f)")
    made = fused(attention.apply, text, two=TWO, fill=np.float32(fill), low=np.float32(-0.3))
    assert (made.made, operator(made)) == (1, (1, 0.5))
    random = np.random.default_rng(1)
    feeds = {name: random.standard_normal(shape).astype(np.float32) for name, shape in (("q", (2, 3, 4)), ("k", (2, 5, 4)), ("v", (2, 5, 6)))}
    mask = random.standard_normal((2, 3, 5)).astype(np.float32)
    mask[1, 2] = -1
    (old,), (new,) = made.run(**feeds, m=mask)
    assert np.isnan(old).any() == (fill == float("-inf"))
    np.testing.assert_allclose(new, old, atol=1e-6)


def test_a_bias_before_the_scale_is_scaled_too(fused):
    text = (
        ONE.replace("v)", "v, float[S,T] m)", 1)
        .replace("c = Div(s, two)", "b = Add(s, m)  c = Div(b, two)")
        .replace("<float", "<float[B,S,T] b, float", 1)
    )
    made = fused(attention.apply, text, two=TWO)
    assert (made.made, operator(made)) == (1, (1, 0.5))
    assert made.worst() < 1e-6


def test_values_weighed_from_the_left(fused):
    """As layers over channels do: y^T = v^T w^T."""
    text = ONE.replace("float[B,S,6] y)", "float[B,6,S] y)").replace("<float", "<float[B,6,T] vt, float[B,T,S] wt, float", 1)
    text = text.replace("y = MatMul(w, v)", "vt = Transpose<perm=[0,2,1]>(v)  wt = Transpose<perm=[0,2,1]>(w)  y = MatMul(vt, wt)")
    made = fused(attention.apply, text, two=TWO)
    assert (made.made, made.ops) == (1, [OPERATOR, "Transpose"])
    assert made.worst() < 1e-6


def test_keys_times_queries_and_a_softmax_over_the_rows(fused):
    text = """g (float[B,S,4] q, float[B,T,4] k, float[B,T,6] v) => (float[B,S,6] y) <float[B,4,S] qt, float[B,T,S] s, float[B,T,S] w, float[B,S,T] wt> {
        qt = Transpose<perm=[0,2,1]>(q)  s = MatMul(k, qt)  w = Softmax<axis=1>(s)  wt = Transpose<perm=[0,2,1]>(w)  y = MatMul(wt, v) }"""
    made = fused(attention.apply, text)
    assert (made.made, operator(made)) == (1, (1, 1.0))
    assert made.worst() < 1e-6


def test_heads_taken_out_of_the_batch_between(fused):
    text = """g (float[6,S,4] q, float[6,T,4] k, float[6,T,4] v, float[3,1,1,T] m) => (float[6,S,4] y)
        <float[6,4,T] kt, float[6,S,T] s, float[3,2,S,T] h, float[3,2,S,T] b, float[6,S,T] a, float[6,S,T] w> {
        kt = Transpose<perm=[0,2,1]>(k)  s = MatMul(q, kt)  sq = Shape<start=1>(s)  to_heads = Concat<axis=0>(by_head, sq)  h = Reshape(s, to_heads)
        b = Add(h, m)  to_rows = Concat<axis=0>(rows, sq)  a = Reshape(b, to_rows)  w = Softmax(a)  y = MatMul(w, v) }"""
    made = fused(attention.apply, text, by_head=np.array([3, 2]), rows=np.array([6]))
    assert (made.made, operator(made)) == (1, (1, 1.0))
    assert made.worst() < 1e-6


def test_an_einstein_sum_is_a_product(fused):
    text = """g (float[B,S,2,4] q, float[B,T,2,4] k, float[B,T,2,6] v) => (float[B,S,2,6] y) <float[B,2,S,T] s, float[B,2,S,T] w, float[B,S,2,6] o> {
        s = Einsum<equation="bqhd,bkhd->bhqk">(q, k)  w = Softmax(s)  o = Einsum<equation="bhqk,bkhd->bqhd">(w, v)  y = Neg(o) }"""
    made = fused(all_of, text)
    assert (made.made, operator(made)) == (1, (2, 1.0))
    assert "Transpose" not in made.ops
    assert made.worst() < 1e-6


NEAR = {
    "another axis": (ONE.replace("axis=-1", "axis=1"), "another axis"),
    "weights returned": (ONE.replace("(float[B,S,6] y)", "(float[B,S,6] y, float[B,S,T] w)").replace(", float[B,S,T] w>", ">"), "returned"),
    "weights used twice": (ONE.replace("y = MatMul(w, v)", "z = MatMul(w, v)  t = ReduceSum<keepdims=1>(w)  y = Add(z, t)"), "more than once"),
    "a scale for each key": (ONE.replace("Div(s, two)", "Div(s, several)").replace("float[B,T,6] v)", "float[B,T,6] v, float[T] several)"), "Div"),
    "scores used twice": (ONE.replace("y = MatMul(w, v)", "z = MatMul(w, v)  t = ReduceSum<keepdims=1>(s)  y = Add(z, t)"), "elsewhere"),
    "a cap": (ONE.replace("w = Softmax<axis=-1>(c)", "d = Tanh(c)  w = Softmax<axis=-1>(d)"), "Tanh"),
    "a fill that leaves weight": (
        ONE.replace("w = Softmax<axis=-1>(c)", "n = Greater(c, two)  d = Where(n, zero, c)  w = Softmax<axis=-1>(d)"),
        "Where",
    ),
    "weights squared": (ONE.replace("y = MatMul(w, v)", "u = Mul(w, w)  y = MatMul(u, v)"), "more than once"),
    "weights multiplied": (ONE.replace("y = MatMul(w, v)", "u = Mul(w, two)  y = MatMul(u, v)"), "Mul"),
}


@pytest.mark.parametrize("case", NEAR)
def test_near_misses_stay_and_say_why(fused, case):
    text, reason = NEAR[case]
    made = fused(attention.apply, text, two=TWO, zero=np.float32(0))
    assert made.made == 0
    assert OPERATOR not in made.ops
    (told,) = reasons(made)
    assert reason in told
    assert made.worst() < 1e-6


def test_a_softmax_over_words_is_no_attention(fused, weight):
    text = "g (float[B,S,4] x) => (float[B,S,8] y) <float[B,S,6] s, float[B,S,6] w> { s = MatMul(x, A)  w = Softmax(s)  y = MatMul(w, C) }"
    made = fused(attention.apply, text, A=weight(4, 6), C=weight(6, 8))
    assert (made.made, reasons(made)) == (0, [])


def test_transposes_one_after_another(fused):
    text = "g (float[B,S,2,4] x) => (float[B,S,2,4] y) <float[B,2,S,4] a, float[B,S,2,4] b> { a = Transpose<perm=[0,2,1,3]>(x)  b = Transpose<perm=[0,2,1,3]>(a)  y = Neg(b) }"
    made = fused(transposes.apply, text)
    assert (made.made, made.ops) == (1, ["Neg"])
    assert made.worst() == 0
