import numpy as np
import pytest

from zen_edge.exporters.fusions import activations

TOLERANCE = 2e-6

SWISH = "g (float[B,S,8] x) => (float[B,S,8] y) { h = Neg(x)  s = Sigmoid(h)  m = Mul(h, s)  y = Neg(m) }"


@pytest.mark.parametrize("product", ["Mul(h, s)", "Mul(s, h)"])
def test_swish(fused, product):
    made = fused(activations.apply, SWISH.replace("Mul(h, s)", product))
    assert (made.made, made.ops) == (1, ["Neg", "microsoft.QuickGelu", "Neg"])
    assert made.worst() < TOLERANCE


def test_swish_far_from_zero(fused):
    made = fused(activations.apply, SWISH)
    (old,), (new,) = made.run(x=np.array([[[-200, -90, -20, -1e-30, 0, 20, 90, 200]]], np.float32))
    assert np.abs(old - new).max() < TOLERANCE


def test_swish_as_a_graph_output(fused):
    made = fused(activations.apply, "g (float[B,S,8] x) => (float[B,S,8] y) { s = Sigmoid(x)  y = Mul(x, s) }")
    assert (made.made, made.ops) == (1, ["microsoft.QuickGelu"])
    assert made.worst() < TOLERANCE


@pytest.mark.parametrize(
    ("graph", "ops"),
    [
        (SWISH.replace("Neg(m)", "Add(m, s)"), ["Neg", "Sigmoid", "Mul", "Add"]),
        (SWISH.replace("(float[B,S,8] y)", "(float[B,S,8] y, float[B,S,8] s)"), ["Neg", "Sigmoid", "Mul", "Neg"]),
        (SWISH.replace("Mul(h, s)", "Mul(x, s)"), ["Neg", "Sigmoid", "Mul", "Neg"]),
        (SWISH.replace("Mul(h, s)", "Mul(s, s)"), ["Neg", "Sigmoid", "Mul", "Neg"]),
        (SWISH.replace("Sigmoid(h)", "Tanh(h)"), ["Neg", "Tanh", "Mul", "Neg"]),
        (SWISH.replace("Mul(h, s)", "Add(h, s)"), ["Neg", "Sigmoid", "Add", "Neg"]),
    ],
    ids=["gate read twice", "gate is an output", "gate of another value", "gate squared", "tanh", "sum"],
)
def test_what_is_no_swish_stays(fused, graph, ops):
    made = fused(activations.apply, graph)
    assert (made.made, made.ops) == (0, ops)
