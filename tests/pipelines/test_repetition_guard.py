"""repetition_guard: outputs that loop are decoded again, others stay as they are."""

from __future__ import annotations

import pytest

from zen_edge import InputError

LOOPING = {"min_new_tokens": 100}  # forced to go on when it has said all, the shipped model goes round in circles


def longest_loop(tokens: tuple[int, ...]) -> int:
    """How many tokens a run that comes four times or more back to back covers in all."""
    best = 0
    for period in range(1, len(tokens) // 4 + 1):
        for start in range(len(tokens) - period):
            end = start + period
            while end < len(tokens) and tokens[end] == tokens[end - period]:
                end += 1
            if end - start >= 4 * period:
                best = max(best, end - start)
    return best


@pytest.mark.parametrize("num_beams", [1, 4])
def test_ordinary_lines_stay_as_they_are(pipeline, lines, num_beams):
    """One of the 655 loops in greedy search, none with beams."""
    plain = pipeline.generate(lines[:250], num_beams=num_beams)
    guarded = pipeline.generate(lines[:250], num_beams=num_beams, repetition_guard=True)
    changed = [one for (one,), (other,) in zip(plain, guarded, strict=True) if one.tokens != other.tokens]
    assert [one.repetition_guard for (one,) in guarded].count(True) == len(changed) <= 2
    assert all(longest_loop(one.tokens) >= 12 for one in changed)
    assert not any(one.repetition_guard for (one,) in plain)


@pytest.mark.parametrize("num_beams", [1, 4])
def test_a_loop_is_decoded_again_and_says_so(pipeline, lines, num_beams):
    some = lines[:12]
    options = {"num_beams": num_beams, **LOOPING}
    plain = [one for (one,) in pipeline.generate(some, **options)]
    guarded = [one for (one,) in pipeline.generate(some, **options, repetition_guard=True)]
    off = [one for (one,) in pipeline.generate(some, **options, repetition_guard=False)]
    again = [one for (one,) in pipeline.generate(some, **options, no_repeat_ngram_size=6)]
    assert off == plain
    looping = [longest_loop(one.tokens) >= 12 for one in plain]
    assert sum(looping) >= 3
    for one, other, limited, loops in zip(plain, guarded, again, looping, strict=True):
        assert other.tokens == (limited.tokens if other.repetition_guard else one.tokens)
        assert other.score == pytest.approx((limited if other.repetition_guard else one).score, abs=1e-5)
        assert other.repetition_guard or not loops
        assert not other.repetition_guard or longest_loop(other.tokens) < 12
        assert len(other.tokens) > 100  # what the caller asked for holds in the second try
    assert [one.text for one in guarded] == pipeline(some, **options, repetition_guard=True)
    line = some[looping.index(True)]
    assert list(pipeline.stream(line, **options, repetition_guard=True)) == [guarded[looping.index(True)].text]


def test_the_callers_own_smaller_guard_is_kept(pipeline, lines):
    options = {"num_beams": 1, **LOOPING, "no_repeat_ngram_size": 2}
    for (one,), (other,) in zip(pipeline.generate(lines[:8], **options), pipeline.generate(lines[:8], **options, repetition_guard=True), strict=True):
        assert other == one
        assert not other.repetition_guard


def test_the_best_of_several_results_decides(pipeline, lines):
    found = pipeline.generate(lines[:6], num_beams=4, num_return_sequences=3, **LOOPING, repetition_guard=True)
    assert all(len({one.repetition_guard for one in answer}) == 1 for answer in found)
    assert any(answer[0].repetition_guard for answer in found)


def test_a_source_that_repeats_itself_may_be_repeated(pipeline):
    for source in ("tool " * 40, "ha " * 30, "1 2 " * 25):
        assert not pipeline.generate(source, num_beams=1, repetition_guard=True)[0][0].repetition_guard, source


def test_splitting_guards_unless_told_not_to(pipeline, lines):
    document = "\n".join(lines[:40])
    options = {"num_beams": 1, **LOOPING, "overflow": "split"}
    guarded, off = (pipeline.generate(document, **options, **more)[0][0] for more in ({}, {"repetition_guard": False}))
    assert guarded.repetition_guard
    assert sum(part.repetition_guard for _, part in guarded.segments) >= 20
    assert not off.repetition_guard
    assert not any(part.repetition_guard for _, part in off.segments)
    fits = pipeline.generate(lines[0], **options)[0][0]
    assert fits.repetition_guard == (longest_loop(pipeline.generate(lines[0], num_beams=1, **LOOPING)[0][0].tokens) >= 12)


def test_an_output_without_an_end_gets_a_second_try(pipeline, lines, monkeypatch):
    """It is an error only if the second try has none either."""
    options = {"num_beams": 1, "min_new_tokens": 60, "max_new_tokens": 1000}
    some = lines[:40]
    first, second = (pipeline.generate_each(some, **options, **more) for more in ({}, {"no_repeat_ngram_size": 6}))
    lengths = [[999 if isinstance(answer, InputError) else len(answer[0].tokens) for answer in answers] for answers in (first, second)]
    line, length = next((line, other) for line, one, other in zip(some, *lengths, strict=True) if one > other)
    monkeypatch.setattr(pipeline._model, "max_target_length", length)
    plain, guarded = (pipeline.generate_each(line, **options, **more)[0] for more in ({}, {"repetition_guard": True}))
    assert "no position for another" in str(plain)
    assert guarded[0].repetition_guard
    assert len(guarded[0].tokens) == length
    monkeypatch.setattr(pipeline._model, "max_target_length", length - 1)
    assert "no position for another" in str(pipeline.generate_each(line, **options, repetition_guard=True)[0])


def test_a_stopped_call_is_not_decoded_again(pipeline, lines):
    seen = []
    found = pipeline.generate(lines[0], num_beams=1, **LOOPING, repetition_guard=True, should_stop=lambda progress: seen.append(1) or len(seen) == 80)
    assert len(seen) == 80
    assert not found[0][0].repetition_guard


def test_a_call_stopped_in_a_later_batch_decodes_no_earlier_one_again(pipeline, lines):
    seen = []
    options = {"num_beams": 1, **LOOPING, "repetition_guard": True}
    found = pipeline.generate(lines[:200], **options, should_stop=lambda progress: seen.append(progress.inputs) or len(seen) == 150)
    assert len(seen) == 150
    assert set(seen[0]).isdisjoint(seen[-1])
    assert len(found) == 200
    assert not any(one.repetition_guard for (one,) in found)
