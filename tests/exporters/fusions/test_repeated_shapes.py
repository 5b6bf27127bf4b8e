import numpy as np
import pytest

from zen_edge.exporters.fusions import repeated_shapes

TWO = "g (float[B,S,8] x, float[{other}] z) => (float[B,S,8] y, int64[N] n) {{ a = Shape{first}(x)  c = Shape{second}(z)  n = Concat<axis=0>(a, c)  y = Relu(x) }}"


def two(other: str, first: str = "", second: str = "") -> str:
    return TWO.format(other=other, first=first, second=second)


@pytest.mark.parametrize(
    ("other", "first", "second"),
    [
        ("B,S,8", "", ""),
        ("B,S,4", "<start=0, end=1>", "<start=0, end=1>"),
        ("B,4,S", "<start=1, end=2>", "<start=-1>"),
        ("S,8", "<start=1>", ""),
        ("B,S,2,4", "<end=-1>", "<start=0, end=2>"),
        ("S,B,3,8", "<start=2>", "<start=3, end=9>"),
    ],
    ids=["all", "the first", "counted from the end", "the tail", "up to the end", "by number"],
)
def test_the_same_sizes_are_asked_for_once(fused, other, first, second):
    made = fused(repeated_shapes.apply, two(other, first, second))
    assert (made.made, made.ops) == (1, ["Shape", "Concat", "Relu"])
    assert made.worst() == 0


@pytest.mark.parametrize(
    ("other", "first", "second"),
    [("B,S2,8", "", ""), ("S,B,8", "", ""), ("B,S,9", "", ""), ("B,S", "", ""), ("B,S,8", "<end=1>", "<start=1>")],
    ids=["another symbol", "another order", "another number", "fewer axes", "another part"],
)
def test_other_sizes_stay(fused, other, first, second):
    made = fused(repeated_shapes.apply, two(other, first, second))
    assert (made.made, made.ops) == (0, ["Shape", "Shape", "Concat", "Relu"])


def test_sizes_without_a_name_stay(fused):
    """Two sizes that nothing is known of are not the same for that."""
    graph = "g (float[B,S,8] x, bool[B,S] m) => (int64[N] n) { i = NonZero(m)  j = NonZero(x)  a = Shape(i)  c = Shape(j)  n = Concat<axis=0>(a, c) }"
    made = fused(repeated_shapes.apply, graph)
    for node in made.model.graph:
        if node.op_type == "NonZero":
            node.outputs[0].shape = None
    assert repeated_shapes.apply(made.model.graph) == 0
    assert made.ops == ["NonZero", "NonZero", "Shape", "Shape", "Concat"]
    old, new = made.run(x=np.ones((1, 3, 8), np.float32), m=np.array([[True, False, True]]))
    assert old[0].tolist() == new[0].tolist() == [2, 2, 3, 24]


def test_sizes_that_are_a_graph_output_stay(fused):
    made = fused(repeated_shapes.apply, "g (float[B,S,8] x, float[B,S,8] z) => (int64[3] a, int64[3] c) { a = Shape(x)  c = Shape(z) }")
    assert (made.made, made.ops) == (0, ["Shape", "Shape"])
