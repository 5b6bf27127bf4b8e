"""Parity finds wrong numbers, wrong tokens and wrong texts; a check that cannot fail is worth nothing."""

import json
import math
import sys
from collections.abc import Callable

import numpy as np
import pytest

from zen_edge.errors import CheckFailedError, MissingDependencyError, ZenEdgeError
from zen_edge.manifest import PRECISIONS
from zen_edge.parity import (
    TIE,
    TOLERANCES,
    Array,
    Divergence,
    OutputDifference,
    ParityReport,
    TextScore,
    TokenComparison,
    bisect,
    compare_outputs,
    compare_texts,
    compare_tokens,
)

GOOD = OutputDifference("logits", 0.0, 0.0, 1.0, True)


@pytest.fixture
def reference() -> Array:
    """(B,S,D)"""
    return np.random.default_rng(0).standard_normal((3, 5, 64)).astype(np.float32)


def noise(reference: Array, relative: float) -> Array:
    """The reference with an error of that relative norm."""
    return (reference + relative * np.random.default_rng(1).standard_normal(reference.shape)).astype(np.float32)


def test_every_precision_has_a_tolerance() -> None:
    assert tuple(TOLERANCES) == PRECISIONS
    with pytest.raises(ZenEdgeError, match="int4"):
        compare_outputs("x", np.zeros(1), np.zeros(1), "int3")


# The errors that were measured for each precision pass; ten times as much, or what another mistake costs, does not.
@pytest.mark.parametrize(
    ("precision", "passing", "failing"),
    [("fp32", 1e-5, 1e-3), ("fp16", 1e-3, 5e-2), ("int8", 0.06, 0.6), ("int8-blocks", 0.02, 0.2), ("int4", 0.25, 1.5)],
)
def test_tolerances_part_measured_errors_from_mistakes(reference: Array, precision: str, passing: float, failing: float) -> None:
    assert compare_outputs("x", reference, noise(reference, passing), precision).passed
    assert not compare_outputs("x", reference, noise(reference, failing), precision).passed


MISTAKES: dict[str, Callable[[Array], Array]] = {
    "a bias forgotten": lambda x: x + np.float32(1),
    "another input": lambda x: np.roll(x, 1, axis=0),
    "one step off": lambda x: np.roll(x, 1, axis=1),
    "zeros": np.zeros_like,
    "negated": lambda x: -x,
    "transposed": lambda x: np.ascontiguousarray(x[::-1, ::-1]),
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistakes_fail_at_every_precision(reference: Array, precision: str, mistake: Callable[[Array], Array]) -> None:
    found = compare_outputs("x", reference, mistake(reference), precision)
    assert not found.passed and found.note


def test_one_wrong_value_fails_in_fp32(reference: Array) -> None:
    wrong = reference.copy()
    wrong[2, 4, 63] += 0.01
    assert not compare_outputs("x", reference, wrong, "fp32").passed


def test_numbers_are_those_of_the_definition() -> None:
    found = compare_outputs("x", np.array([1.0, -4.0, 0.0]), np.array([1.0, -3.0, 0.0]), "int4")
    assert (found.max_abs, found.max_rel) == (1.0, 0.25)
    assert found.cosine == pytest.approx(13 / math.sqrt(17 * 10))
    assert compare_outputs("x", np.array([1e300, 1e300]), np.array([1e300, 1e300]), "fp32").cosine == pytest.approx(1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_nan_and_infinity_fail_on_either_side(reference: Array, bad: float, precision: str) -> None:
    broken = reference.copy()
    broken[1, 2, 3] = bad
    for pair in ((reference, broken), (broken, reference), (broken, broken)):
        found = compare_outputs("x", *pair, precision)
        assert not found.passed and "NaN or infinite" in found.note
        assert json.loads(json.dumps(found.to_json(), allow_nan=False))["max_abs"] is None


def test_shapes_are_both_told(reference: Array) -> None:
    found = compare_outputs("x", reference, reference[:, :4], "int4")
    assert not found.passed and found.note == "shape [3, 4, 64] instead of [3, 5, 64]"
    assert not compare_outputs("x", np.ones((2, 1)), np.ones((2, 3)), "int4").passed  # never broadcast


def test_mask_leaves_padding_out(reference: Array) -> None:
    mask = np.ones((3, 5), bool)
    mask[1, 3:] = False
    padded = reference.copy()
    padded[1, 3:] = np.nan
    assert compare_outputs("x", reference, padded, "fp32", mask).passed
    padded[1, 2, 0] += 1
    assert not compare_outputs("x", reference, padded, "fp32", mask).passed
    assert "mask" in compare_outputs("x", reference, reference, "fp32", np.ones((5, 3))).note


def test_nothing_to_compare_does_not_pass(reference: Array) -> None:
    assert not compare_outputs("x", reference, reference, "fp32", np.zeros((3, 5))).passed
    assert not compare_outputs("x", reference[:0], reference[:0], "fp32").passed


def test_integers_are_exact() -> None:
    ids = np.array([[58100, 3]])
    assert compare_outputs("ids", ids, ids.astype(np.int32), "int4").passed
    assert "1 of 2" in compare_outputs("ids", ids, ids + np.array([1, 0]), "int4").note
    assert not compare_outputs("ids", ids, ids.astype(np.float32), "fp32").passed


def test_zeros_agree_with_zeros_only() -> None:
    zeros, ones = np.zeros(4), np.ones(4)
    assert compare_outputs("x", zeros, zeros, "fp32").passed
    assert not compare_outputs("x", zeros, ones * 1e-9, "int4").passed
    assert not compare_outputs("x", ones, zeros, "int4").passed


SEQUENCES = [[5, 6, 7, 2], [5, 8, 2], [9, 2]]


def test_same_tokens() -> None:
    found = compare_tokens(SEQUENCES, [tuple(s) for s in SEQUENCES], lambda *_: pytest.fail("nothing parts"))
    assert found == TokenComparison(3, 3, 0, None)


def test_margins_are_asked_at_the_step_where_tokens_part() -> None:
    asked = []

    def margins(*where: int) -> float:
        asked.append(where)
        return {1: 0.5, 2: TIE}[where[0]]

    found = compare_tokens(SEQUENCES, [[5, 6, 7, 2], [5, 3, 2], [4, 2]], margins, decode=str)
    assert asked == [(1, 1, 8, 3), (2, 0, 9, 4)]
    assert found == TokenComparison(3, 1, 1, Divergence(1, 1, 0.5, "[5, 8, 2]", "[5, 3, 2]"))


@pytest.mark.parametrize(
    ("margin", "tie"), [(0.0, True), (TIE, True), (-TIE, True), (1.1e-3, False), (-2.0, False), (math.nan, False), (math.inf, False)]
)
def test_ties_are_near_on_either_side(margin: float, tie: bool) -> None:
    found = compare_tokens([[1, 2]], [[1, 3]], lambda *_: margin)
    assert (found.ties, found.first_divergence is None) == ((1, True) if tie else (0, False))


@pytest.mark.parametrize("given", [[5, 6], [], [5, 6, 7, 2, 2]])
def test_a_sequence_that_merely_ends_elsewhere_is_no_tie(given: list[int]) -> None:
    found = compare_tokens([SEQUENCES[0]], [given], lambda *_: 0.0)
    assert found.first_divergence == Divergence(0, min(len(given), 4), math.inf)


def test_missing_sequences_are_an_error() -> None:
    with pytest.raises(CheckFailedError, match="2 sequences"):
        compare_tokens(SEQUENCES, SEQUENCES[:2], lambda *_: 0.0)


PARTED = TokenComparison(4, 2, 1, Divergence(3, 7, 0.25))


@pytest.mark.parametrize(("precision", "passed"), [("fp32", False), ("fp16", True), ("int8", True), ("int8-blocks", True), ("int4", True)])
def test_tokens_decide_in_fp32_only(precision: str, passed: bool) -> None:
    assert ParityReport(precision, (GOOD,), {"greedy alone": PARTED}).passed is passed


def test_ties_pass_in_fp32() -> None:
    assert ParityReport("fp32", (GOOD,), {"greedy alone": TokenComparison(4, 3, 1, None)}).passed


@pytest.mark.parametrize("precision", PRECISIONS)
def test_outputs_decide_always(precision: str) -> None:
    assert ParityReport(precision, (GOOD,)).passed
    assert not ParityReport(precision, (GOOD, OutputDifference("x", 1.0, 1.0, 0.0, False, "max_rel"))).passed
    assert not ParityReport(precision, ()).passed


@pytest.mark.parametrize(("lines", "limit"), [(4, 4.0), (16, 2.0), (64, 1.0), (6400, 1.0)])
def test_the_limit_of_chrf_widens_with_few_lines(lines: int, limit: float) -> None:
    for loss, passed in ((limit - 0.01, True), (limit + 0.01, False)):
        text = {"chrF": TextScore(60.0, 60.0 - loss)}
        assert ParityReport("int8", (GOOD,), text=text, about={"lines_with_target": lines}).passed is passed


@pytest.mark.parametrize("precision", [name for name, tolerance in TOLERANCES.items() if tolerance.chrf is not None])
def test_lost_text_fails_quantized_bundles(precision: str) -> None:
    limit = TOLERANCES[precision].chrf
    assert limit is not None
    for bundle, passed in ((60 - limit * 0.9, True), (60 - limit * 1.1, False), (99.0, True), (math.nan, False)):
        assert ParityReport(precision, (GOOD,), text={"chrF": TextScore(60.0, bundle)}).passed is passed


def test_json_has_the_shape_of_the_command_line() -> None:
    cases = {"greedy alone": TokenComparison(4, 4, 0, None), "beam padded": PARTED}
    report = ParityReport("fp32", (GOOD,), cases, {"BLEU": TextScore(30.0, 29.5)}, bisect=OutputDifference("mul", 1.0, 0.1, 0.9, False, "max_rel"))
    value = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert value["passed"] is False
    assert value["outputs"] == [{"name": "logits", "max_abs": 0.0, "max_rel": 0.0, "cosine": 1.0}]
    assert value["tokens"] == {"total": 8, "identical": 6, "first_divergence": {"input": 3, "step": 7, "margin": 0.25}}
    assert value["text"] == {"BLEU": {"reference": 30.0, "bundle": 29.5}}
    assert value["tolerance"]["max_rel"] == TOLERANCES["fp32"].max_rel
    assert value["ties"] == 1 and value["cases"]["greedy alone"]["first_divergence"] is None and value["bisect"]["name"] == "mul"
    assert ParityReport("int8", (GOOD,)).to_json()["tokens"]["first_divergence"] is None


def test_texts_are_scored_against_references() -> None:
    references = ["The cat sits on the mat today.", "A second sentence stands here."]
    scores = compare_texts(references, references, ["The cat sat on a mat today.", "Something else entirely."])
    assert scores["chrF"].reference == pytest.approx(100) and scores["BLEU"].reference == pytest.approx(100)
    assert 10 < scores["chrF"].bundle < 70
    assert compare_texts([], ["a"], ["b"]) == {}
    with pytest.raises(CheckFailedError):
        compare_texts(references, references, references[:1])


def test_scores_ask_for_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "zen-edge\[bench\]"'):
        compare_texts(["a"], ["a"], ["a"])
    assert compare_texts([], ["a"], ["a"]) == {}


def test_bisect_names_the_first_wrong_tensor(reference: Array) -> None:
    names = ["embed", "fused away", "scores", "softmax", "logits"]
    right = {name: reference + i for i, name in enumerate(names)}
    wrong = {name: noise(value, 0.5 if name in ("softmax", "logits") else 1e-7) for name, value in right.items() if name != "fused away"}
    asked = []

    def fetch(name: str) -> Array:
        asked.append(name)
        return right[name]

    found = bisect(names, fetch, wrong, TOLERANCES["fp32"])
    assert found is not None and found.name == "softmax" and found.max_rel > 0.1
    assert asked == ["embed", "scores", "softmax"]
    assert bisect(names, right, right, TOLERANCES["fp32"]) is None
    with pytest.raises(ZenEdgeError, match="no tensor"):
        bisect(names, right, {}, TOLERANCES["fp32"])
