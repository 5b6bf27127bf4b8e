import numpy as np
import pytest

from zen_edge.exporters.fusions import tied_head

TOLERANCE = 1e-5

HEAD = "g (float[B,S,16] x) => (float[B,S,40] logits) { t = Transpose<perm=[1, 0]>(E)  logits = MatMul(x, t) }"


def test_the_head_reads_the_embedding_as_it_lies(fused, weight):
    made = fused(tied_head.apply, HEAD, E=weight(40, 16))
    assert (made.made, made.ops) == (1, ["microsoft.FusedMatMul"])
    assert made.worst() < TOLERANCE


def test_transposing_without_saying_how_is_the_same(fused, weight):
    made = fused(tied_head.apply, HEAD.replace("Transpose<perm=[1, 0]>", "Transpose"), E=weight(40, 16))
    assert (made.made, made.ops) == (1, ["microsoft.FusedMatMul"])
    assert made.worst() < TOLERANCE


@pytest.mark.parametrize("shape", ["B,16", "16"])
def test_inputs_of_two_and_one_axes(fused, weight, shape):
    made = fused(tied_head.apply, HEAD.replace("B,S,16", shape).replace("B,S,40", shape.replace("16", "40")), E=weight(40, 16))
    assert (made.made, made.ops) == (1, ["microsoft.FusedMatMul"])
    assert made.worst() < TOLERANCE


def test_the_embedding_is_not_copied_for_the_look_up(fused, weight):
    graph = "g (float[B,S,16] x) => (float[B,S,40] logits, float[2,16] rows) { t = Transpose<perm=[1, 0]>(E)  logits = MatMul(x, t)  rows = Gather(E, ids) }"
    made = fused(tied_head.apply, graph, E=weight(40, 16), ids=np.array([3, 39], np.int64))
    assert (made.made, made.ops) == (1, ["microsoft.FusedMatMul", "Gather"])
    assert set(made.model.graph.initializers) == {"E", "ids"}
    assert made.worst() < TOLERANCE


def test_a_transpose_that_is_read_elsewhere_stays_for_that(fused, weight):
    graph = "g (float[B,S,16] x) => (float[B,S,40] logits, float[16,40] u) { t = Transpose<perm=[1, 0]>(E)  logits = MatMul(x, t)  u = Relu(t) }"
    made = fused(tied_head.apply, graph, E=weight(40, 16))
    assert (made.made, made.ops) == (1, ["Transpose", "microsoft.FusedMatMul", "Relu"])
    assert made.worst() < TOLERANCE


@pytest.mark.parametrize(
    ("graph", "ops"),
    [
        ("g (float[B,S,16] x, float[40,16] C) => (float[B,S,40] y) { t = Transpose<perm=[1, 0]>(C)  y = MatMul(x, t) }", ["Transpose", "MatMul"]),
        ("g (float[B,S,16] x) => (float[B,S,16] y) { t = Transpose<perm=[0, 1]>(Q)  y = MatMul(x, t) }", ["Transpose", "MatMul"]),
        ("g (float[B,S,16] x) => (float[16,S,16] y) { t = Transpose<perm=[2, 1, 0]>(Z)  y = MatMul(x, t) }", ["Transpose", "MatMul"]),
        ("g (float[B,S,16] x) => (float[B,S,16] y) { y = MatMul(x, Q) }", ["MatMul"]),
        ("g (float[16,S] x) => (float[16,S] y) { t = Transpose<perm=[1, 0]>(Q)  y = MatMul(t, x) }", ["Transpose", "MatMul"]),
    ],
    ids=["computed", "not turned", "three axes", "no transpose", "on the left"],
)
def test_what_is_no_tied_head_stays(fused, weight, graph, ops):
    made = fused(tied_head.apply, graph, E=weight(40, 16), Q=weight(16, 16), Z=weight(16, 16, 16))
    assert (made.made, made.ops) == (0, ops)
