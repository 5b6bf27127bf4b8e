import numpy as np
import pytest

from zen_edge.exporters.fusions import rms_normalization

TOLERANCE = 2e-5

APART = """g (float[B,S,8] x) => (float[B,S,8] y) {
    p = Pow(x, two)  m = ReduceMean<keepdims=1>(p, axes)  a = Add(m, epsilon)  s = Sqrt(a)  r = Reciprocal(s)  n = Mul(x, r)  y = Mul(gain, n) }"""


@pytest.fixture
def weights(weight):
    return {"gain": weight(8), "two": np.float32(2), "axes": np.array([-1]), "epsilon": np.float32(0.5)}


@pytest.mark.parametrize(("old", "new"), [("", ""), ("Mul(x, r)", "Mul(r, x)"), ("Mul(gain, n)", "Mul(n, gain)"), ("Pow(x, two)", "Mul(x, x)")])
def test_it_becomes_one_operator(fused, weights, old, new):
    made = fused(rms_normalization.apply, APART.replace(old, new), **weights)
    assert (made.made, made.ops) == (1, ["SimplifiedLayerNormalization"])
    assert made.worst() < TOLERANCE


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Pow(x, two)", "Pow(x, epsilon)"),  # no square
        ("Mul(x, r)", "Mul(p, r)"),  # another value is scaled
        ("keepdims=1>(p, axes)", "keepdims=1>(p, first)"),  # over another axis
        ("Mul(gain, n)", "Mul(s, n)"),  # no gain
    ],
)
def test_what_only_looks_like_it_stays(fused, weights, old, new):
    made = fused(rms_normalization.apply, APART.replace(old, new), **(weights | {"first": np.array([1])}))
    assert made.made == 0


def test_a_mean_that_is_read_elsewhere_stays(fused, weights):
    text = APART.replace("(float[B,S,8] y) {", "(float[B,S,8] y, float[B,S,1] m) {")
    assert fused(rms_normalization.apply, text, **weights).made == 0
