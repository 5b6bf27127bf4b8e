"""`should_stop`: called after each step with the progress so far; True ends the call with what there is."""

from __future__ import annotations

import time

import pytest

from zen_edge import OptionError
from zen_edge.runtimes.pipelines.progress import Progress

FREE = {"forced_eos_token_id": None, "max_length": 40}  # no end token is forced where the length runs out


def at(steps):
    return lambda progress: progress.steps >= steps


@pytest.mark.parametrize("options", [{"num_beams": 1}, {"num_beams": 4}, {"num_beams": 3, "num_return_sequences": 3, "length_penalty": 0.4}])
@pytest.mark.parametrize("steps", [1, 4])
def test_what_there_is_so_far_is_what_the_length_would_cut(options, steps, pipeline, lines):
    for line in lines[::80]:
        stopped = pipeline.generate(line, should_stop=at(steps), **FREE, **options)[0]
        cut = pipeline.generate(line, **{**FREE, **options, "max_new_tokens": steps})[0]
        assert [one.tokens for one in stopped] == [one.tokens for one in cut]
        assert [one.score for one in stopped] == pytest.approx([one.score for one in cut], abs=1e-5)
        assert [one.text for one in stopped] == [pipeline.decode(one.tokens) for one in stopped]


def test_sampling_stops_too(pipeline, lines):
    options = {"do_sample": True, "num_beams": 1, "num_return_sequences": 3, "seed": 1, "token_log_probs": True}
    stopped = pipeline.generate(lines[:6], should_stop=at(3), **options)
    whole = pipeline.generate(lines[:6], **options)
    for some, all_of in zip(stopped, whole, strict=True):
        assert [one.tokens for one in some] == [one.tokens[:3] for one in all_of]
        assert [one.log_probs for one in some] == [pytest.approx(one.log_probs[:3], abs=1e-5) for one in all_of]


def test_what_it_is_shown(pipeline, lines):
    seen: list[Progress] = []
    some = [*lines[:5], "", lines[6]]
    found = pipeline.generate(some, num_beams=1, should_stop=lambda progress: seen.append(progress))
    assert {place for progress in seen for place in progress.inputs} == {0, 1, 2, 3, 4, 6}
    assert [progress.steps for progress in seen] == list(range(1, len(seen) + 1))
    assert found == pipeline.generate(some, num_beams=1, should_stop=None)
    for progress in seen:  # asked after the end they say the same
        for place, tokens, text in zip(progress.inputs, progress.tokens(), progress.texts(), strict=True):
            assert tokens == found[place][0].tokens[: progress.steps]
            assert text == pipeline.decode(tokens)


def test_the_whole_call_ends(pipeline, lines):
    """Batches that have not begun give empty texts: nothing more is computed."""
    some = lines[:300]
    calls = []

    def stop(progress):
        calls.append(progress.inputs)
        return len(calls) == 2

    found = pipeline.generate(some, num_beams=1, num_return_sequences=1, should_stop=stop)
    begun = set(calls[0])
    assert len(calls) == 2
    assert calls[0] == calls[1]
    assert 0 < len(begun) < len(some)
    for place, (one,) in enumerate(found):
        assert (len(one.tokens) in (1, 2)) if place in begun else (one.tokens, one.text) == ((), "")
    again = pipeline(some, num_beams=1, should_stop=lambda progress: True)
    assert [bool(text) for place, text in enumerate(again) if place not in begun] == [False] * (len(some) - len(begun))


def once(calls, at):
    """A `should_stop` that says yes at its `at`-th question only."""
    return lambda progress: calls.append(progress.inputs) or len(calls) == at


def test_a_yes_in_a_split_text_is_not_taken_back(pipeline, lines):
    """Parts that have not begun stay empty though a later question would be answered no."""
    text = "\n".join(lines[:300])
    options = {"num_beams": 1, "overflow": "split", "repetition_guard": False}
    calls: list[object] = []
    ((whole,),) = pipeline.generate(text, **options, should_stop=once(calls, 2))
    assert len(calls) == 2
    assert 0 < sum(len(part.tokens) > 0 for _, part in whole.segments) < 300
    assert all(len(part.tokens) <= 2 for _, part in whole.segments)
    calls.clear()
    assert len(list(pipeline.stream(text, **options, should_stop=once(calls, 2)))) <= 1
    assert len(calls) == 2


def test_a_yes_ends_the_second_pass_of_the_repetition_guard(pipeline, lines):
    """Where it falls while loops are decoded again, they keep their first answers, and no further group is begun."""
    options = {"num_beams": 1, "min_new_tokens": 100, "repetition_guard": True}
    # Sources that repeat themselves are given a guard of another size: two groups to decode again.
    some = [*lines[:12], *("tool tool tool tool tool tool tool tool" for _ in range(2)), "ha ha ha ha ha ha ha ha ha ha ha ha ha ha"]
    steps: list[int] = []
    whole = pipeline.generate(some, **options, should_stop=lambda progress: steps.append(progress.steps))
    plain = pipeline.generate(some, **{**options, "repetition_guard": False})
    _, second, third = (at for at, step in enumerate(steps) if step == 1)
    calls: list[object] = []
    found = pipeline.generate(some, **options, should_stop=once(calls, second + 20))
    assert len(calls) == second + 20 < third
    assert any(one.repetition_guard for (one,) in whole)
    assert [one.tokens for (one,) in found] == [one.tokens for (one,) in plain]
    assert not any(one.repetition_guard for (one,) in found)


def test_with_a_prefix(pipeline):
    seen = []
    found = pipeline("simple game with cards", decoder_prefix="un jeu", num_beams=1, should_stop=lambda p: seen.append(p.texts()[0]) or p.steps == 2)
    assert seen[-1] == found
    assert all(text.startswith("un jeu") for text in seen)
    assert len(seen) == 2


@pytest.mark.parametrize(
    "options", [{"num_beams": 1}, {"num_beams": 4}, {"num_beams": 1, "do_sample": True, "seed": 2}, {"decoder_prefix": "le jeu"}]
)
def test_a_stream_ends_with_what_a_call_gives(options, pipeline, lines):
    for line in lines[::110]:
        for steps in (1, 3, 5):
            pieces = list(pipeline.stream(line, should_stop=at(steps), **options))
            assert "".join(pieces) == pipeline(line, should_stop=at(steps), **options)


def test_a_deadline(pipeline, lines):
    """Steps after the deadline: one at most."""
    seen = []

    def late(progress):
        seen.append(time.monotonic())
        return seen[-1] - seen[0] > 0.05

    pipeline(lines[:200], num_beams=4, should_stop=late)
    assert len([moment for moment in seen if moment - seen[0] > 0.05]) <= 1


def test_its_error_is_the_callers(pipeline):
    with pytest.raises(ZeroDivisionError):
        pipeline("simple game", should_stop=lambda progress: 1 / 0)
    assert pipeline("simple game") == "jeu simple"


@pytest.mark.parametrize("value", [True, 3, "yes"])
def test_what_is_no_function(value, pipeline):
    with pytest.raises(OptionError, match="should_stop must be a function of one argument"):
        pipeline("simple game", should_stop=value)
