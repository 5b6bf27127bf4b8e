"""When a bundle in half precision may be off by more than the bound: numbers alone, no model."""

from dataclasses import replace

import pytest

from zen_edge.check_half import FACTOR, MOST, _judged, _paired, judged
from zen_edge.parity import OutputDifference, ParityReport

COSINE = 0.9995
OVER = OutputDifference("logits", 0.1, 0.05, 0.9999, False, "max_rel 0.05 is over 0.02")


def rounded(max_rel: float, cosine: float = 0.9999) -> OutputDifference:
    return replace(OVER, max_rel=max_rel, cosine=cosine)


@pytest.mark.parametrize(
    ("output", "alone", "words"),
    [
        (OVER, rounded(0.04), ""),
        (OVER, rounded(0.05 / FACTOR * 0.99), "of which 2 times would pass"),
        (replace(OVER, cosine=0.99), rounded(0.04, 0.998), "of which 2 times would pass"),
        (replace(OVER, cosine=0.99), rounded(0.04, 0.997), ""),
        (replace(OVER, max_rel=0.3), rounded(MOST * 1.01), "half precision is not for this model"),
    ],
    ids=["as PyTorch", "worse", "another direction", "the same direction", "too much of it"],
)
def test_an_output(output, alone, words):
    found = _judged(output, alone, COSINE)
    assert found.passed == (not words) and words in found.note and (found.note == "") == found.passed


def test_outputs_are_paired_by_name_and_order():
    one, two, whole = (replace(OVER, name=name, max_abs=size) for name, size in (("a", 1.0), ("a", 2.0), ("ids", 3.0)))
    assert list(_paired((OVER, one, two), (whole, one, OVER, two))) == [(OVER, OVER), (one, one), (two, two)]


def test_what_is_no_matter_of_rounding_is_left_alone(tmp_path):
    """No export is made for it: what could not be told, and another failure beside."""

    class Manifest:
        precision = "fp16"

    def never(folder):
        raise AssertionError

    lost = OutputDifference("logits", float("inf"), float("inf"), float("nan"), False, "3 of 4 values of the bundle are NaN or infinite")
    for report in (ParityReport("fp16", (lost,)), ParityReport("fp16", (OVER, lost)), ParityReport("fp16", (replace(OVER, passed=True),))):
        assert judged(report, tmp_path, Manifest, never, never, print) is report
    Manifest.precision = "int8"
    assert judged(ParityReport("int8", (OVER,)), tmp_path, Manifest, never, never, print).outputs == (OVER,)
