import numpy as np
import pytest

from zen_edge.exporters.fusions import query_scale

ATTENTION = "com.microsoft.MultiHeadAttention<num_heads=2, scale=0.25>"
MODEL = f"""g (float[B,S,8] x, float[B,T,8] k, float[B,T,8] v) => (float[B,S,8] y) {{
    product = MatMul(x, W)  q = Add(product, b)  y = {ATTENTION}(q, k, v) }}"""


@pytest.fixture
def weights(weight):
    return {"W": weight(8, 8), "b": weight(8)}


def scale(model):
    (node,) = [node for node in model.graph if node.op_type == "MultiHeadAttention"]
    return node.attributes.get_float("scale", 0.0)


def test_the_scale_moves_into_the_projection(fused, weights):
    made = fused(query_scale.apply, MODEL, **weights)
    assert (made.made, scale(made.model)) == (1, 1.0)
    assert made.ops == ["MatMul", "Add", "microsoft.MultiHeadAttention"]
    assert made.worst() < 1e-6


def test_a_projection_without_bias(fused, weights):
    made = fused(query_scale.apply, MODEL.replace("product = MatMul(x, W)  q = Add(product, b)", "q = MatMul(x, W)"), W=weights["W"])
    assert (made.made, scale(made.model)) == (1, 1.0)
    assert made.worst() < 1e-6


def test_a_product_with_a_number_is_taken_along(fused, weights):
    text = MODEL.replace("q = Add(product, b)", "sum = Add(b, product)  q = Mul(sum, half)")
    made = fused(query_scale.apply, text, half=np.float32(0.5), **weights)
    assert (made.made, scale(made.model)) == (1, 1.0)
    assert made.ops == ["MatMul", "Add", "microsoft.MultiHeadAttention"]
    assert made.worst() < 1e-6


def test_rows_folded_into_one_query(fused, weights):
    """As the beams of one input are: their shape is read beside them."""
    text = """g (float[B,S,8] x, float[1,2,T,4] k, float[1,2,T,4] v) => (float[B,S,8] y) {
        product = MatMul(x, W)  q = Add(product, b)  shape = Shape(q)  folded = Reshape(q, fold)
        out = com.microsoft.MultiHeadAttention<num_heads=2, scale=0.25>(folded, k, v)  y = Reshape(out, shape) }"""
    made = fused(query_scale.apply, text, fold=np.array([1, -1, 8]), **weights)
    assert (made.made, scale(made.model)) == (1, 1.0)
    assert made.worst() < 1e-6


def test_a_weight_that_another_product_reads_is_left_to_it(fused, weights):
    text = MODEL.replace("(float[B,S,8] y)", "(float[B,S,8] y, float[B,T,8] z)").replace("y =", "z = MatMul(k, W)  y =")
    made = fused(query_scale.apply, text, **weights)
    assert made.made == 1
    assert made.worst() < 1e-6


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("=> (float[B,S,8] y)", "=> (float[B,S,8] y, float[B,S,8] q)"),  # others read the queries
        ("MatMul(x, W)", "MatMul(x, x2)"),  # no projection
        ("q = Add(product, b)", "sum = Add(product, b)  q = Mul(sum, each)"),  # a gain for each feature
        ("scale=0.25", "scale=1.0"),
    ],
)
def test_what_must_stay(fused, weights, old, new):
    text = MODEL.replace(old, new)
    extra = {"each": np.linspace(0.1, 1, 8, dtype=np.float32)} if "each" in new else {}
    if "x2" in new:
        text = text.replace("float[B,T,8] k", "float[8,8] x2, float[B,T,8] k")
    made = fused(query_scale.apply, text, **weights, **extra)
    assert made.made == 0
