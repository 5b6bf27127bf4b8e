"""Pieces come early, are never taken back, and add up to the answer."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("num_beams", [1, 4])
def test_pieces_add_up(pipeline, lines, num_beams):
    for line, answer in zip(lines[::13], pipeline(lines[::13], num_beams=num_beams), strict=True):
        pieces = list(pipeline.stream(line, num_beams=num_beams))
        assert "".join(pieces) == answer
        assert all(pieces)
        assert len(pieces) > 1 or len(answer.split()) < 6


def test_pieces_come_while_the_rest_is_still_to_do(pipeline, lines, monkeypatch):
    steps = []
    step = pipeline._model.step
    monkeypatch.setattr(pipeline._model, "step", lambda *given, **options: steps.append(1) or step(*given, **options))
    line = max(lines, key=len)
    pieces = pipeline.stream(line, num_beams=1)
    assert not steps  # nothing runs before it is asked for
    next(pieces)
    begun = len(steps)
    assert "".join(pieces)
    assert begun < len(steps) / 2


def test_a_stream_may_be_left(pipeline):
    pieces = pipeline.stream("simple game with cards for two players")
    next(pieces)
    pieces.close()
    assert pipeline("simple game") == "jeu simple"


def test_two_streams_at_once(pipeline, lines):
    one, other = pipeline.stream(lines[3]), pipeline.stream(lines[9])
    found = ["", ""]
    for pieces in zip(one, other, strict=False):
        found = [text + piece for text, piece in zip(found, pieces, strict=True)]
    assert pipeline(lines[3]).startswith(found[0])
    assert pipeline(lines[9]).startswith(found[1])
