"""A decoder's step with room for more words than there are says what the growing one says; what it cannot be made of is refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from zen_edge.exporters import fixed_step
from zen_edge.exporters.lengths import Numbers, Run, Sum, lengths
from zen_edge.manifest import GROW, STEP

R, C, WORDS = 3, 8, 20
ATTENTION = 'com.microsoft.MultiHeadAttention <num_heads=2, scale=0.5, mask_filter_value=-3e38, unidirectional=1> (x, x, x, "", "", {bias}, past_key_0, past_value_0)'
DECODER = """<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>
decoder (int64[R,S] input_ids, float[R,2,P,4] past_key_0, float[R,2,P,4] past_value_0, bool want_log_sum_exp)
=> (float[R,S,8] logits, float[R,2,L,4] present_key_0, float[R,2,L,4] present_value_0, float[R,S] log_sum_exp)
<int64 zero = {{0}}, int64 one = {{1}}, int64[1] first = {{0}}, int64[1] second = {{1}}, int64[2] ends = {{1, 1}}, int64[1] last = {{-1}}> {{
    before = Shape <start=2, end=3> (past_key_0)  P = Squeeze(before)
    new = Shape <start=1, end=2> (input_ids)  S = Squeeze(new)  L = Add(P, S)
    {positions}
    words = Gather(embedding, input_ids)  x = Add(words, placed)
    {bias_nodes}
    out, present_key_0, present_value_0 = {attention}
    logits = Add(out, x)
    log_sum_exp = If (want_log_sum_exp) <then_branch = sum () => (float[R,S] total) {{ total = ReduceLogSumExp <keepdims=0> (logits, last) }},
                                         else_branch = none () => (float[R,S] total) {{ total = ConstantOfShape(ends) }}>
}}"""
COUNTED = "numbers = Range(zero, S, one)  at = Add(numbers, P)  placed = Gather(table, at)"
POSITIONS = {
    "counted": COUNTED,
    "sliced": "end = Add(before, new)  placed = Slice(table, before, end, first)",
    "from the words": "ones = Equal(input_ids, input_ids)  counts = Cast <to=7> (ones)  sums = CumSum(counts, one)  more = Sub(sums, one)  at = Add(more, P)  placed = Gather(table, at)",
    "as an index": "numbers = Range(zero, S, one)  at = Add(numbers, P)  rows = Unsqueeze(at, last)  placed = GatherND(table, rows)",
}
RELATIVE = """keys = Range(zero, L, one)  wide = Unsqueeze(keys, first)  numbers_ = Range(zero, S, one)  at_ = Add(numbers_, P)  high = Unsqueeze(at_, second)
    far = Sub(wide, high)  near = Neg(far)  sizes = Shape(far)  none = Expand(zero, sizes)  distance = Max(near, none)  by_head = Gather(relative, distance)
    turned = Transpose <perm=[2,0,1]> (by_head)  flat = Unsqueeze(turned, first)  whole = Reshape(L, last)  shape = Concat <axis=0> (first_one, heads, new, whole)  bias = Expand(flat, shape)"""
CASTS = "wide_key = Cast <to=1> (past_key_0)  wide_value = Cast <to=1> (past_value_0)  out, all_keys, all_values ="
SHARED = """places = Range(zero, L, one)  wide = Unsqueeze(places, first)  numbers_ = Range(zero, S, one)  at_ = Add(numbers_, P)  high = Unsqueeze(at_, last)
    added = Add(wide, high)  sees = {}  zero_ = Cast <to=1> (zero)  least = Sub(zero_, huge)  masked = Where(sees, zero_, least)  bias = Unsqueeze(masked, both)
    mine = Gather <axis=2> (x, some)  new_key = Unsqueeze(mine, second)  whole = Reshape(L, last)  rows = Shape <start=0, end=1> (input_ids)
    sizes = Concat <axis=0> (rows, first_one, heads, whole, four)  merged = Concat <axis=0> (rows, whole, eight)"""
REPEATED = """  present_{0}_0 = Concat <axis=-2> (past_{0}_0, new_key)  by_group_{0} = Unsqueeze(present_{0}_0, heads)
    many_{0} = Expand(by_group_{0}, sizes)  turned_{0} = Transpose <perm=[0,3,1,2,4]> (many_{0})  {0}s = Reshape(turned_{0}, merged)"""
OF_SHARED = 'com.microsoft.MultiHeadAttention <num_heads=2, scale=0.5, mask_filter_value=-3e38> (x, keys, values, "", "", bias)'
BIASES = {"": ("", '""'), "relative": (RELATIVE, "bias")}


def model(positions: str = COUNTED, bias: str = "", attention: str = ATTENTION) -> onnx.ModelProto:
    nodes, name = BIASES.get(bias, (bias, "bias"))
    return with_weights(DECODER.format(positions=positions, bias_nodes=nodes, attention=attention.format(bias=name)))


def with_weights(text: str) -> onnx.ModelProto:
    made = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    weights = {"embedding": rng.normal(size=(WORDS, 8)), "table": rng.normal(size=(16, 8)), "relative": rng.normal(size=(16, 2))}
    numbers = {"first_one": np.array([1]), "heads": np.array([2]), "four": np.array([4]), "eight": np.array([8]), "both": np.array([0, 1])}
    numbers |= {"some": np.arange(4), "huge": np.array(3e38, np.float32)}
    made.graph.initializer.extend(onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items())
    made.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in numbers.items())
    return onnx.shape_inference.infer_shapes(made)


def run(path: Path, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip([value.name for value in session.get_outputs()], session.run(None, feeds), strict=True))


def require_same(folder: Path, heads: int = 2) -> None:
    """The step in `folder` says what the decoder there says, whatever stands in places that were not written yet."""
    rng, length = np.random.default_rng(1), 0
    past = dict.fromkeys(("past_key_0", "past_value_0"), np.zeros((R, heads, 0, 4), np.float32))
    room = dict.fromkeys(past, np.full((R, heads, C, 4), 7, np.float32))  # what stands in a place before it is written is not seen
    for S in (2, 1, 3, 1):
        ids = rng.integers(0, WORDS, (R, S))
        expected = run(folder / "decoder.onnx", {"input_ids": ids, "want_log_sum_exp": np.array(True), **past})
        found = run(folder / STEP, {"input_ids": ids, "positions": np.arange(length, length + S), "key_positions": np.arange(C), **room})
        past, room = ({name: given[name.replace("past", "present")] for name in past} for given in (expected, found))
        length += S
        for name in ("logits", "log_sum_exp"):
            assert np.abs(expected[name] - found[name]).max() < 2e-6
        for name in past:
            assert np.array_equal(room[name][:, :, :length], past[name]) and (room[name][:, :, length:] == 7).all()
    grown = run(folder / GROW, room)
    assert np.array_equal(grown["moved_key_0"], np.concatenate([room["past_key_0"]] * 2, axis=2))


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("positions", POSITIONS)
def test_it_says_what_the_growing_one_says(tmp_path: Path, positions: str, bias: str) -> None:
    onnx.save(model(POSITIONS[positions], bias), tmp_path / "decoder.onnx")
    assert fixed_step.save_fixed_step(tmp_path) == ""
    graph = onnx.load(tmp_path / STEP).graph
    assert not {node.op_type for node in graph.node} & {"If", "Range", "ScatterND", "GatherND"}
    assert {value.name for value in graph.input} == {"input_ids", "past_key_0", "past_value_0", "positions", "key_positions"}
    require_same(tmp_path)


def test_attention_in_single_precision_of_what_is_kept_in_half(tmp_path: Path) -> None:
    """What is kept is written where it lies all the same."""
    text = DECODER.replace("float[R,2,", "float16[R,2,").format(positions=COUNTED, bias_nodes="", attention=ATTENTION.format(bias='""'))
    text = text.replace("past_key_0, past_value_0)\n    logits", "wide_key, wide_value)\n    logits").replace(
        "out, present_key_0, present_value_0 =", CASTS
    )
    text = text.replace("    logits =", "    present_key_0 = Cast <to=10> (all_keys)  present_value_0 = Cast <to=10> (all_values)\n    logits =")
    onnx.save(with_weights(text), tmp_path / "decoder.onnx")
    assert fixed_step.save_fixed_step(tmp_path) == ""
    made = {node.output[0]: node.op_type for node in onnx.load(tmp_path / STEP).graph.node}
    assert made["present_key_0"] == made["present_value_0"] == "ScatterElements"
    past = np.zeros((R, 2, 0, 4), np.float16)
    ids, told = np.arange(R * 3).reshape(R, 3), {"positions": np.arange(3), "key_positions": np.arange(C)}
    expected = run(tmp_path / "decoder.onnx", {"input_ids": ids, "want_log_sum_exp": np.array(True), "past_key_0": past, "past_value_0": past})
    room = np.zeros((R, 2, C, 4), np.float16)
    found = run(tmp_path / STEP, {"input_ids": ids, "past_key_0": room, "past_value_0": room, **told})
    assert np.array_equal(found["present_key_0"][:, :, :3], expected["present_key_0"])
    assert np.abs(found["logits"] - expected["logits"]).max() < 0.01  # the new words' keys are rounded to half before they are seen


def sharing(sees: str = "LessOrEqual(wide, high)") -> onnx.ModelProto:
    """Two heads that share one of keys and values, joined before it is repeated."""
    text = DECODER.replace("float[R,2,", "float[R,1,").replace("out, present_key_0, present_value_0 =", "out =")
    return with_weights(
        text.format(positions=COUNTED, bias_nodes=SHARED.format(sees) + REPEATED.format("key") + REPEATED.format("value"), attention=OF_SHARED)
    )


@pytest.mark.parametrize("sees", ["LessOrEqual(wide, high)", "LessOrEqual(zero, added)"], ids=["words before", "all words"])
def test_heads_that_share_keys_and_values(tmp_path: Path, sees: str) -> None:
    onnx.save(sharing(sees), tmp_path / "decoder.onnx")
    assert fixed_step.save_fixed_step(tmp_path) == ""
    require_same(tmp_path, heads=1)


def test_shared_keys_without_a_bias_are_refused(tmp_path: Path) -> None:
    text = sharing()
    next(node for node in text.graph.node if node.op_type == "MultiHeadAttention").input[5] = ""
    assert refused(text, tmp_path) == "heads that share keys have no bias that says what they see"


def refused(text: onnx.ModelProto, folder: Path) -> str:
    onnx.save(text, folder / "decoder.onnx")
    found = fixed_step.save_fixed_step(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["decoder.onnx"]
    return found


def test_what_it_cannot_be_made_of(tmp_path: Path) -> None:
    """And nothing is written."""
    as_value = COUNTED.replace("placed =", "placed_ =") + "  share = Cast <to=1> (L)  placed = Mul(placed_, share)"
    assert refused(model(as_value), tmp_path) == "a number is computed from the words before and another size"
    as_size = COUNTED.replace("placed =", "placed_ =") + "  many = Expand(placed_, grown)  placed = ReduceMean <keepdims=0> (many, first)"
    as_size = as_size.replace("many =", "grown = Concat <axis=0> (before, last, last)  many =")
    assert refused(model(as_size), tmp_path) == "Concat takes a size that grows with the words before"
    written = (
        COUNTED.replace("placed =", "placed_ =")
        + "  row = Unsqueeze(first, first)  zeros = Gather(table, first)  placed = ScatterND(placed_, row, zeros)"
    )
    assert refused(model(written), tmp_path) == "ScatterND cannot be recorded"
    masked = ATTENTION.replace('"", {bias}', "seen, {bias}")
    seen = COUNTED + "  ones = Equal(input_ids, input_ids)  seen = Cast <to=6> (ones)"
    assert refused(model(seen, attention=masked), tmp_path) == "attention with past keys and values has a mask of its own"
    joined = ATTENTION.replace("past_key_0,", "doubled,")
    assert "past keys or values" in refused(model(COUNTED + "  doubled = Add(past_key_0, past_key_0)", attention=joined), tmp_path)
    branch = model()
    branch.graph.input[-1].name = next(node for node in branch.graph.node if node.op_type == "If").input[0] = "something"
    assert refused(branch, tmp_path) == "If cannot be recorded"


def test_lengths_are_known_in_symbols() -> None:
    graph = ir.serde.deserialize_model(model(bias="relative")).graph
    known = {value.name: found for value, found in lengths(graph).known.items()}
    P, S = Sum.of({"P": 1}), Sum.of({"S": 1})
    assert known["L"] == Numbers((P.plus(S),), alone=True)
    assert known["at"] == Run(P, S)
    assert known["high"] == Run(P, S, rank=2, axis=0)
    assert known["wide"] == Run(Sum(), P.plus(S), rank=2, axis=1)
    assert known["shape"] == Numbers((Sum.size(1), Sum.size(2), S, P.plus(S)))
    assert Sum.size("2*T") == Sum.of({"2*T": 1}) and Sum.size("P+3") == P.plus(Sum.size(3))
    assert {"placed", "far"}.isdisjoint(known)
