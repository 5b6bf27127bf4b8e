"""Batches of lines, and lines of an exact length."""

from pathlib import Path

import pytest

from zen_edge.benchmarks.inputs import Batch, batches, fitting, made_up
from zen_edge.errors import InputError
from zen_edge.inputs import BUILT_IN, Line
from zen_edge.manifest import read_manifest
from zen_edge.runtimes.tokenization import load_tokenizer


def test_the_last_batch_is_filled_up() -> None:
    assert batches(["a", "b", "c"], 2) == [Batch((0, 1), ("a", "b")), Batch((2, 0), ("c", "a"))]
    assert batches(["a", "b"], 5) == [Batch((0, 1, 0, 1, 0), ("a", "b", "a", "b", "a"))]


def test_made_up_lines_have_exactly_that_many_tokens(demo_int8: Path) -> None:
    encode = load_tokenizer(demo_int8, read_manifest(demo_int8).tokenizer).encode
    lines = made_up(BUILT_IN, demo_int8, 24, seed=0)
    assert {len(encode(line.source)) for line in lines} == {24}
    assert len({line.source for line in lines}) > 30
    assert lines == made_up(BUILT_IN, demo_int8, 24, seed=0) != made_up(BUILT_IN, demo_int8, 24, seed=1)


def test_lengths_that_cannot_be(demo_int8: Path) -> None:
    with pytest.raises(InputError, match="fewer than 9999"):
        made_up(BUILT_IN, demo_int8, 9999, seed=0)
    with pytest.raises(InputError, match="no text of exactly 24 tokens"):
        made_up([Line("123")], demo_int8, 24, seed=0)


def test_lines_beyond_the_model_are_left_out(demo_int8: Path) -> None:
    lines = (Line("short"), Line("long " * 400), Line("  "), Line("also short"))
    assert fitting(lines, demo_int8) == (lines[0], lines[3])
