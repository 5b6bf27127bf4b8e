"""Attention is counted, fused or spelt out, wherever it stands in the file."""

from pathlib import Path

import onnx
import pytest

from zen_edge.inspection import describe_graph

from .small_graphs import MS, WEIGHT, attention, branch, function, loop_body, node, save

SCORES = [node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]), node("MatMul", ["q", "kt"], ["s"])]
UNFUSED: dict[str, tuple[list[onnx.NodeProto], list[onnx.FunctionProto], int]] = {
    "plain": (attention(), [], 1),
    "twice": ([*attention("a", "1"), *attention("b", "2"), node("Add", ["a", "b"], ["out"])], [], 2),
    "einsum": (
        [
            node("Einsum", ["q", "k"], ["s"], equation="bnsh,bnth->bnst"),
            node("Softmax", ["s"], ["p"]),
            node("Einsum", ["p", "v"], ["out"], equation="bnst,bnth->bnsh"),
        ],
        [],
        1,
    ),
    "within a function called twice": (
        [node("F", ["q", "k", "v", "mask"], ["a"], domain="local"), node("F", ["a", "k", "v", "mask"], ["out"], domain="local")],
        [function("F", ["q", "k", "v", "mask"], attention("r"), ["r"])],
        2,
    ),
    "only the softmax within a function": (
        [*SCORES, node("F", ["s"], ["p"], domain="local"), node("MatMul", ["p", "v"], ["out"])],
        [function("F", ["x"], [node("Softmax", ["x"], ["y"])], ["y"])],
        1,
    ),
    "a function that calls a function": (
        [*SCORES, node("F", ["s"], ["p"], domain="local"), node("MatMul", ["p", "v"], ["out"])],
        [
            function("F", ["x"], [node("G", ["x"], ["y"], domain="local")], ["y"]),
            function("G", ["x"], [node("Softmax", ["x"], ["y"])], ["y"]),
        ],
        1,
    ),
    "within a branch": (
        [
            node("If", ["yes"], ["out"], then_branch=branch("t", attention("a"), "a"), else_branch=branch("e", [node("Identity", ["v"], ["a"])], "a")),
        ],
        [],
        1,
    ),
    "across the end of a branch": (
        [
            *SCORES,
            node(
                "If", ["yes"], ["p"],
                then_branch=branch("t", [node("Softmax", ["s"], ["x"])], "x"),
                else_branch=branch("e", [node("Identity", ["s"], ["x"])], "x"),
            ),
            node("MatMul", ["p", "v"], ["out"]),
        ],
        [],
        1,
    ),
    "scores carried into a loop": (
        [
            *SCORES,
            node("Loop", ["", "yes", "s"], ["p"], body=loop_body([node("Softmax", ["x"], ["y"])])),
            node("MatMul", ["p", "v"], ["out"]),
        ],
        [],
        1,
    ),
}  # fmt: skip
NEAR_MISSES: dict[str, list[onnx.NodeProto]] = {
    "vocabulary": [node("MatMul", ["q", "W"], ["logits"]), node("Softmax", ["logits"], ["out"])],
    "vocabulary of two activations": [*SCORES, node("Softmax", ["s"], ["out"])],
    "soft embedding": [node("MatMul", ["q", "W"], ["l"]), node("Softmax", ["l"], ["p"]), node("MatMul", ["p", "W"], ["out"])],
    "tied head": [
        node("Transpose", ["W"], ["Wt"]),
        node("MatMul", ["q", "Wt"], ["l"]),
        node("Softmax", ["l"], ["p"]),
        node("MatMul", ["p", "v"], ["out"]),
    ],
    "probabilities projected": [*SCORES, node("Softmax", ["s"], ["p"]), node("MatMul", ["p", "W"], ["out"])],
    "a norm between": [*SCORES, node("LayerNormalization", ["s", "W"], ["n"]), node("Softmax", ["n"], ["p"]), node("MatMul", ["p", "v"], ["out"])],
    "an activation after": [*SCORES, node("Softmax", ["s"], ["p"]), node("Relu", ["p"], ["r"]), node("MatMul", ["r", "v"], ["out"])],
    "a sigmoid instead": [*SCORES, node("Sigmoid", ["s"], ["p"]), node("MatMul", ["p", "v"], ["out"])],
}


@pytest.mark.parametrize(("nodes", "functions", "count"), UNFUSED.values(), ids=UNFUSED)
def test_unfused_attention_is_found(tmp_path: Path, nodes: list[onnx.NodeProto], functions: list[onnx.FunctionProto], count: int) -> None:
    found = describe_graph(save(tmp_path / "g.onnx", nodes, functions=functions), "g")
    assert (found.unfused_attention, found.fused_attention) == (count, 0)


@pytest.mark.parametrize("nodes", NEAR_MISSES.values(), ids=NEAR_MISSES)
def test_other_softmaxes_are_not_attention(tmp_path: Path, nodes: list[onnx.NodeProto]) -> None:
    assert describe_graph(save(tmp_path / "g.onnx", nodes, WEIGHT), "g").unfused_attention == 0


def test_of_two_branches_one_runs(tmp_path: Path) -> None:
    def branch(name: str, count: int) -> onnx.GraphProto:
        nodes = [node("MultiHeadAttention", ["q", "k", "v"], [f"{name}{i}"], domain=MS, num_heads=2) for i in range(count)]
        return onnx.helper.make_graph(nodes, name, [], [onnx.helper.make_tensor_value_info(f"{name}0", onnx.TensorProto.FLOAT, None)])

    def choice(output: str, *counts: int) -> onnx.NodeProto:
        one, other = (branch(f"{output}.{i}.", count) for i, count in enumerate(counts))
        return node("If", ["c"], [output], then_branch=one, else_branch=other)

    nodes = [choice("a", 1, 1), choice("b", 1, 2), node("MultiHeadAttention", ["a", "b", "v"], ["out"], domain=MS, num_heads=2)]
    found = describe_graph(save(tmp_path / "g.onnx", nodes), "g")
    assert (found.fused_attention, found.unfused_attention) == (4, 0)
    assert found.ops == {"If": 2, "MultiHeadAttention": 6}


def test_what_is_fused_in_the_other_branch_is_no_attention_left_over(tmp_path: Path) -> None:
    def choice(output: str, other: list[onnx.NodeProto]) -> onnx.NodeProto:
        spelt = attention(f"{output}.spelt", f".{output}")
        bodies = [
            onnx.helper.make_graph(
                nodes, nodes[-1].output[0], [], [onnx.helper.make_tensor_value_info(nodes[-1].output[0], onnx.TensorProto.FLOAT, None)]
            )
            for nodes in (spelt, other)
        ]
        return node("If", ["c"], [output], then_branch=bodies[0], else_branch=bodies[1])

    fused, no_attention = node("MultiHeadAttention", ["q", "k", "v"], ["a.fused"], domain=MS, num_heads=2), node("Identity", ["q"], ["b.q"])
    nodes = [choice("a", [fused]), choice("b", [no_attention]), node("Add", ["a", "b"], ["out"])]
    found = describe_graph(save(tmp_path / "g.onnx", nodes), "g")
    assert (found.fused_attention, found.unfused_attention) == (1, 1)


def test_fused_attention_is_counted_by_domain(tmp_path: Path) -> None:
    nodes = [
        node("MultiHeadAttention", ["q", "k", "v"], ["a"], domain=MS, num_heads=2),
        node("GroupQueryAttention", ["a", "k", "v", "", "", "l", "t"], ["b"], domain=MS, num_heads=2, kv_num_heads=1),
        node("Attention", ["b", "k", "v"], ["c"]),
        node("MultiHeadAttention", ["c", "k", "v"], ["d"], domain="somebody.else"),
        node("F", ["d"], ["out"], domain="local"),
    ]
    inner = function("F", ["x"], [node("MultiHeadAttention", ["x", "x", "x"], ["y"], domain=MS, num_heads=2)], ["y"])
    found = describe_graph(save(tmp_path / "g.onnx", nodes, functions=[inner]), "g")
    assert (found.fused_attention, found.unfused_attention) == (4, 0)
    assert found.ops == {"Attention": 1, "GroupQueryAttention": 1, "MultiHeadAttention": 3}
