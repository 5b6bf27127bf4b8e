import numpy as np
import pytest

from zen_edge.exporters.fusions import zero_attention_bias

MODEL = """g (float[B,S,8] q, float[B,T,8] k, float[B,T,8] v) => (float[B,S,8] y) {
    s = Shape<start=1, end=2>(q)  t = Shape<start=1, end=2>(k)  size = Concat<axis=0>(one, heads, s, t)
    bias = Expand(value, size)  y = com.microsoft.MultiHeadAttention<num_heads=2>(q, k, v, , , bias) }"""


@pytest.fixture
def weights():
    return {"one": np.array([1]), "heads": np.array([2])}


def test_zeros_are_not_added(fused, weights):
    made = fused(zero_attention_bias.apply, MODEL, value=np.zeros((1, 1, 1, 1), np.float32), **weights)
    assert made.made == 1
    node = next(node for node in made.model.graph if node.op_type == "MultiHeadAttention")
    assert [value is not None for value in node.inputs] == [True, True, True]
    assert made.worst() < 1e-6


def test_a_bias_that_is_not_zero_stays(fused, weights):
    assert fused(zero_attention_bias.apply, MODEL, value=np.full((1, 1, 1, 1), 1e-3, np.float32), **weights).made == 0


def test_a_bias_that_is_computed_stays(fused, weights):
    text = MODEL.replace("Expand(value, size)", "RandomUniform<shape=[1,2,1,1]>()").replace("float[B,S,8] q", "float[B,1,8] q")
    assert fused(zero_attention_bias.apply, text.replace("float[B,T,8]", "float[B,1,8]"), **weights).made == 0
