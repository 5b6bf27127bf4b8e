import numpy as np
import pytest

from zen_edge.exporters.fusions import zero_bias

ADD = "g (float[B,S,8] x) => (float[B,S,8] y) { h = Relu(x)  z = Add(h, b)  y = Sigmoid(z) }"


@pytest.mark.parametrize("shape", [(8,), (1, 8), (1, 1, 8), (1,), ()], ids=str)
def test_an_addition_of_zeros_is_dropped(fused, shape):
    made = fused(zero_bias.apply, ADD, b=np.zeros(shape, np.float32))
    assert (made.made, made.ops) == (1, ["Relu", "Sigmoid"])
    assert made.worst() == 0


def test_the_zeros_may_come_first(fused):
    made = fused(zero_bias.apply, ADD.replace("Add(h, b)", "Add(b, h)"), b=np.zeros(8, np.float32))
    assert (made.made, made.ops) == (1, ["Relu", "Sigmoid"])
    assert made.worst() == 0


def test_the_graphs_output_keeps_its_name(fused):
    made = fused(zero_bias.apply, "g (float[B,S,8] x) => (float[B,S,8] y) { h = Relu(x)  y = Add(h, b) }", b=np.zeros(8, np.float32))
    assert (made.made, made.ops) == (1, ["Relu"])
    assert made.worst() == 0


@pytest.mark.parametrize("b", [np.array([0, 0, 0, 0, 0, 0, 0, 1e-30], np.float32), np.full(8, np.nan, np.float32)], ids=["tiny", "nan"])
def test_a_bias_that_is_not_all_zeros_stays(fused, b):
    made = fused(zero_bias.apply, ADD, b=b)
    assert (made.made, made.ops) == (0, ["Relu", "Add", "Sigmoid"])


@pytest.mark.parametrize(("x", "y", "shape"), [("B,1,8", "B,4,8", (4, 8)), ("B,8", "1,B,8", (1, 1, 8)), ("B,S,1", "B,S,8", (8,))], ids=str)
def test_zeros_that_widen_the_other_summand_stay(fused, x, y, shape):
    made = fused(
        zero_bias.apply, f"g (float[{x}] x) => (float[{y}] y) {{ h = Relu(x)  z = Add(h, b)  y = Sigmoid(z) }}", b=np.zeros(shape, np.float32)
    )
    assert (made.made, made.ops) == (0, ["Relu", "Add", "Sigmoid"])


def test_zeros_that_are_computed_stay(fused):
    made = fused(zero_bias.apply, "g (float[B,S,8] x, float[8] b) => (float[B,S,8] y) { h = Relu(x)  y = Add(h, b) }")
    assert (made.made, made.ops) == (0, ["Relu", "Add"])


@pytest.mark.parametrize(
    ("text", "ops"),
    [
        ("g (float[B,S,8] x) => (float[B,S,8] y) { y = Add(x, b) }", ["Add"]),
        ("g (float[B,S,8] x) => (float[B,S,8] h, float[B,S,8] y) { h = Relu(x)  y = Add(h, b) }", ["Relu", "Add"]),
        ("g () => (float[8] y) { y = Add(w, b) }", ["Add"]),
    ],
    ids=["input", "output", "weight"],
)
def test_a_value_whose_own_name_is_needed_does_not_become_the_output(fused, text, ops):
    """The graph's output takes its name along, which an input, another output or a weight cannot give up."""
    made = fused(zero_bias.apply, text, b=np.zeros(8, np.float32), w=np.ones(8, np.float32))
    assert (made.made, made.ops) == (0, ops)
    assert made.worst() == 0
