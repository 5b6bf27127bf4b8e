"""Lanes: large batches whose parts are decoded side by side, by one thread each."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

import zen_edge
from zen_edge.errors import ZenEdgeError
from zen_edge.manifest import read_manifest
from zen_edge.runtimes.pipelines.lanes import FEW_ROWS, ROWS, TOKENS, Lanes
from zen_edge.runtimes.providers import find_provider


@pytest.fixture(scope="module")
def in_lanes(demo_int8: Path):
    with zen_edge.load(demo_int8, threads=2) as opened:
        assert opened._lanes.count == 2
        yield opened


def lanes(folder: Path, load=lambda: "model", threads: int | None = 2) -> Lanes[str]:
    return Lanes(folder, read_manifest(folder), find_provider("cpu"), threads, load)


@pytest.mark.parametrize("options", [{"num_beams": 1}, {"num_beams": 4, "num_return_sequences": 2}, {"num_beams": 1, "do_sample": True, "seed": 3}])
def test_same_answers_as_of_one_thread(options, in_lanes, int8, lines):
    some = [*lines[:90], "", lines[0]]
    found, one_thread = in_lanes.generate(some, **options), int8.generate(some, **options)
    assert in_lanes._lanes._opened is not None
    assert [[one.tokens for one in best] for best in found] == [[one.tokens for one in best] for best in one_thread]
    for best, others in zip(found, one_thread, strict=True):
        assert [one.score for one in best] == pytest.approx([one.score for one in others], abs=1e-4)


def test_a_line_that_cannot_be_answered_leaves_the_others(in_lanes, lines):
    some = [*lines[:40], "tool " * 900, *lines[40:60]]
    found = in_lanes.generate_each(some, num_beams=2)
    assert [i for i, one in enumerate(found) if isinstance(one, ZenEdgeError)] == [40]
    assert [best[0].text for i, best in enumerate(found) if i != 40] == in_lanes(some[:40] + some[41:], num_beams=2)


def test_few_rows_and_a_question_after_each_step_stay_together(demo_int8, lines):
    with zen_edge.load(demo_int8, threads=2) as pipeline:
        pipeline(lines[: 2 * ROWS - 1], num_beams=1)
        pipeline(lines[:80], num_beams=1, should_stop=lambda progress: progress.steps >= 2)
        pipeline(lines[0], num_beams=2 * ROWS)
        assert pipeline._lanes._opened is None


def test_every_member_is_in_one_lane(demo_int8):
    apart = lanes(demo_int8, threads=3)
    found = apart.run(lambda model, part, abandoned: (model, list(part), threading.get_ident()), range(3 * ROWS), 1)
    assert [part for _, part, _ in found] == [list(range(lane, 3 * ROWS, 3)) for lane in range(3)]
    assert threading.get_ident() not in {thread for *_, thread in found} and {model for model, *_ in found} == {"model"}
    assert apart.run(lambda *_: 1, range(3 * ROWS - 1), 1) is None and apart.run(lambda *_: 1, range(2), 99) is None


def test_few_rows_of_long_inputs_are_enough(demo_int8):
    apart = lanes(demo_int8)
    few = range(2 * FEW_ROWS)
    assert apart.run(lambda *_: 1, few, 1, 2 * TOKENS - 1) is None and apart.run(lambda *_: 1, few[1:], 1, 2 * TOKENS) is None
    assert apart.run(lambda *_: 1, few, 1, 2 * TOKENS) == [1, 1]


def test_long_inputs_are_given_as_such(demo_int8, lines):
    with zen_edge.load(demo_int8, threads=2) as pipeline:
        text = " ".join(lines[:60])  # more than the 256 tokens that the model takes
        pipeline([text] * (2 * ROWS - 1), num_beams=1, max_new_tokens=3, overflow="truncate")
        assert pipeline._lanes._opened is not None


@pytest.mark.parametrize("broken", [0, 1])
def test_an_error_in_one_lane_ends_the_others(broken, demo_int8):
    ended = []

    def ask(model, part, abandoned):
        if part[0] == broken:
            raise ZenEdgeError("broken")
        while not abandoned():
            threading.Event().wait(0.01)
        ended.append(part[0])

    with pytest.raises(ZenEdgeError, match="broken"):
        lanes(demo_int8).run(ask, range(2 * ROWS), 1)
    assert ended == [1 - broken]


def test_no_lanes_where_the_weights_may_not_be_held_twice(demo_int8, monkeypatch, tmp_path):
    assert lanes(demo_int8, threads=1).count == 1
    with zen_edge.runtimes.memory.keeping("mapped"):
        assert lanes(demo_int8).count == 1
    monkeypatch.setattr(zen_edge.runtimes.memory, "LARGE", 2**20)
    assert lanes(demo_int8).count == 1
    monkeypatch.undo()
    monkeypatch.setattr(zen_edge.runtimes.memory, "room", lambda: 2.0**22)
    assert lanes(demo_int8).run(lambda *_: 1, range(2 * ROWS), 1) is None
    monkeypatch.undo()

    bundle = tmp_path / "bundle"
    shutil.copytree(demo_int8, bundle)
    apart = lanes(bundle)
    shutil.rmtree(bundle)
    assert apart.run(lambda *_: 1, range(2 * ROWS), 1) is None


def test_another_bundle_in_the_same_place_is_not_opened(demo_int8, demo_fp32, tmp_path, lines):
    bundle = tmp_path / "bundle"
    shutil.copytree(demo_int8, bundle)
    pipeline = zen_edge.load(bundle, threads=2)
    shutil.rmtree(bundle)
    shutil.copytree(demo_fp32, bundle)
    with zen_edge.load(demo_int8, threads=1) as int8:
        assert pipeline(lines[:40], num_beams=1) == int8(lines[:40], num_beams=1)
    assert pipeline._lanes._opened is None
    pipeline.close()


def test_closing_lets_go_of_what_was_opened_from_another_folder(demo_int8, lines, monkeypatch, tmp_path):
    monkeypatch.chdir(demo_int8.parent)
    pipeline = zen_edge.load(demo_int8.name, threads=2)
    monkeypatch.chdir(tmp_path)
    pipeline(lines[:40], num_beams=1)
    pool = pipeline._lanes._opened[1]
    pipeline.close()
    assert pipeline._lanes._opened is None and pool._shutdown
