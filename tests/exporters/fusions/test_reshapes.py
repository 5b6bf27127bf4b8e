import numpy as np
import pytest

from zen_edge.exporters.fusions import reshapes

HEADS, MERGED = np.array([0, 0, 4, 2], np.int64), np.array([0, 0, 8], np.int64)
ROUND = "g (float[B,S,8] x) => (float[B,S,8] y) <{value_info}> {{ h = Relu(x)  heads = Reshape(h, to_heads)  merged = Reshape(heads, to_merged)  {rest} }}"


def text(value_info: str = "float[B,S,8] merged", rest: str = "y = Sigmoid(merged)") -> str:
    return ROUND.format(value_info=value_info, rest=rest)


def test_there_and_back_is_dropped(fused):
    made = fused(reshapes.apply, text(), to_heads=HEADS, to_merged=MERGED)
    assert (made.made, made.ops) == (1, ["Relu", "Sigmoid"])
    assert made.worst() == 0


def test_a_longer_way_back_is_dropped(fused):
    graph = "g (float[B,S,8] x) => (float[B,S,8] y) <float[B,S,8] merged> { h = Relu(x)  heads = Reshape(h, to_heads)  flat = Reshape(heads, to_flat)  merged = Reshape(flat, to_merged)  y = Sigmoid(merged) }"
    made = fused(reshapes.apply, graph, to_heads=HEADS, to_flat=np.array([0, 0, 2, 4], np.int64), to_merged=MERGED)
    assert (made.made, made.ops) == (1, ["Relu", "Sigmoid"])
    assert made.worst() == 0


def test_a_reshape_that_changes_nothing_is_dropped(fused):
    made = fused(
        reshapes.apply,
        "g (float[B,S,8] x) => (float[B,S,8] y) <float[B,S,8] same> { same = Reshape(x, to_merged)  y = Sigmoid(same) }",
        to_merged=MERGED,
    )
    assert (made.made, made.ops) == (1, ["Sigmoid"])
    assert made.worst() == 0


def test_heads_that_are_read_elsewhere_stay(fused):
    graph = text(
        rest="rows = ReduceSum(heads, axis)  again = Reshape(rows, to_merged)  y = Add(merged, again)",
        value_info="float[B,S,8] merged, float[B,S,8] again",
    )
    made = fused(
        reshapes.apply, graph.replace("ReduceSum(heads, axis)", "Softmax(heads)"), to_heads=HEADS, to_merged=MERGED, axis=np.array([-1], np.int64)
    )
    assert (made.made, made.ops) == (1, ["Relu", "Reshape", "Softmax", "Reshape", "Add"])
    assert made.worst() == 0


def test_a_graph_output_stays(fused):
    made = fused(
        reshapes.apply,
        "g (float[B,S,8] x) => (float[B,S,8] y) { h = Relu(x)  heads = Reshape(h, to_heads)  y = Reshape(heads, to_merged) }",
        to_heads=HEADS,
        to_merged=MERGED,
    )
    assert (made.made, made.ops) == (0, ["Relu", "Reshape", "Reshape"])


def test_another_shape_stays(fused):
    graph = (
        "g (float[B,S,8] x) => (float[B,S,2,4] y) { h = Relu(x)  heads = Reshape(h, to_heads)  other = Reshape(heads, to_other)  y = Sigmoid(other) }"
    )
    made = fused(reshapes.apply, graph, to_heads=HEADS, to_other=np.array([0, 0, 2, 4], np.int64))
    assert (made.made, made.ops) == (0, ["Relu", "Reshape", "Reshape", "Sigmoid"])


@pytest.mark.parametrize("value_info", ["float[B,S2,8] merged", "float[B,?,8] merged"], ids=["another symbol", "an unknown size"])
def test_sizes_that_may_differ_stay(fused, value_info):
    """(1,B*S,8) has as many axes and numbers, and is another tensor."""
    graph = (
        "g (float[B,S,8] x) => (float[1,R,8] y) <"
        + value_info.replace("?", "")
        + "> { h = Relu(x)  heads = Reshape(h, to_heads)  merged = Reshape(heads, to_merged)  y = Sigmoid(merged) }"
    )
    made = fused(reshapes.apply, graph.replace("float[B,,8]", "float[unk__1,S3,8]"), to_heads=HEADS, to_merged=np.array([1, -1, 8], np.int64))
    assert (made.made, made.ops) == (0, ["Relu", "Reshape", "Reshape", "Sigmoid"])


def test_a_transpose_between_the_reshapes_stays(fused):
    graph = "g (float[B,S,8] x) => (float[B,S,8] y) <float[B,S,8] merged> { h = Relu(x)  heads = Reshape(h, to_heads)  turned = Transpose<perm=[0, 1, 3, 2]>(heads)  merged = Reshape(turned, to_merged)  y = Sigmoid(merged) }"
    made = fused(reshapes.apply, graph, to_heads=HEADS, to_merged=MERGED)
    assert (made.made, made.ops) == (0, ["Relu", "Reshape", "Transpose", "Reshape", "Sigmoid"])
