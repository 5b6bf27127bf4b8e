import numpy as np
import pytest

from zen_edge.exporters.fusions import beam_attention

MODEL = """g (float[B,S,512] q, float[B,8,T,64] k, float[B,8,T,64] v) => (float[B,S,512] y) {
    y = com.microsoft.MultiHeadAttention<num_heads=8, scale=1.0>(q, k, v) }"""
MASKED = """g (float[B,S,512] q, float[B,8,T,64] k, float[B,8,T,64] v, int32[B,T] mask) => (float[B,S,512] y) {
    y = com.microsoft.MultiHeadAttention<num_heads=8, scale=1.0, mask_filter_value=-3.4e38>(q, k, v, , mask) }"""


def given(batch, rows, keys):
    random = np.random.default_rng(0)
    numbers = [random.standard_normal(shape).astype(np.float32) for shape in ((batch, rows, 512), (batch, 8, keys, 64), (batch, 8, keys, 64))]
    return dict(zip("qkv", [numbers[0] * 0.1, *numbers[1:]], strict=True))


@pytest.mark.parametrize(("rows", "keys"), [(1, 600), (2, 511), (2, 512), (4, 180), (9, 70)], ids=str)
@pytest.mark.parametrize("batch", [1, 3])
def test_either_branch_says_the_same(fused, batch, rows, keys):
    made = fused(beam_attention.apply, MODEL)
    assert (made.made, made.ops) == (1, ["Shape", "Shape", "Sub", "Mul", "Greater", "If"])
    (before,), (after,) = made.run(**given(batch, rows, keys))
    assert before.std() > 1e-2
    np.testing.assert_allclose(after, before, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 4])
def test_masked_keys_are_not_seen(fused, rows):
    made = fused(beam_attention.apply, MASKED)
    feeds = given(2, rows, 220)
    mask = np.ones((2, 220), np.int32)
    mask[0, 70:] = 0
    (before,), (after,) = made.run(**feeds, mask=mask)
    np.testing.assert_allclose(after, before, atol=1e-6)
    feeds["k"][0, :, 70:] += 7
    feeds["v"][0, :, 70:] += 7
    np.testing.assert_array_equal(made.run(**feeds, mask=mask)[1][0], after)


def test_the_branch_for_many_rows_has_the_operators_that_are_faster_there(fused):
    made = fused(beam_attention.apply, MODEL)
    (choice,) = [node for node in made.model.graph if node.op_type == "If"]
    ops = {name: [node.op_type for node in choice.attributes[name].as_graph()] for name in ("then_branch", "else_branch")}
    assert ops == {
        "then_branch": [
            "Reshape",
            "Transpose",
            "MatMul",
            "Transpose",
            "Softmax",
            "Unsqueeze",
            "Unsqueeze",
            "MatMul",
            "Squeeze",
            "Transpose",
            "Reshape",
        ],
        "else_branch": ["MultiHeadAttention"],
    }


def test_layers_share_one_condition(fused):
    text = MODEL.replace("y = com", "x = com").replace(
        "(q, k, v) }", "(q, k, v)  y = com.microsoft.MultiHeadAttention<num_heads=8, scale=1.0>(x, k, v) }"
    )
    made = fused(beam_attention.apply, text)
    assert (made.made, made.ops.count("Greater"), made.ops.count("If")) == (2, 1, 2)
    (before,), (after,) = made.run(**given(2, 4, 200))
    np.testing.assert_allclose(after, before, atol=1e-6)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("scale=1.0", "scale=0.125"),  # the scores would need another product
        ("num_heads=8", "unidirectional=1, num_heads=8"),
        ("8,T,64", "4,T,64"),  # narrow
        ("float[B,8,T,64]", "float[B,T,512]"),
    ],
)
def test_what_must_stay(fused, old, new):
    text = MODEL.replace(old, new)
    if "4,T" in new:
        text = text.replace("512", "256").replace("num_heads=8", "num_heads=4")
    assert fused(beam_attention.apply, text).made == 0
