"""Draft tokens through a whole bundle: the same answers, in fewer runs of the decoder."""

import pytest


@pytest.mark.parametrize("options", [{}, {"no_repeat_ngram_size": 2, "min_new_tokens": 6}, {"decoder_prefix": "jeu de"}])
def test_the_same_tokens_in_fewer_steps(pipeline, lines, monkeypatch, options):
    runs = [0]
    decoder = pipeline._model._decoder
    run = decoder.run

    def counting(*args, **kwargs):
        runs[0] += 1
        return run(*args, **kwargs)

    monkeypatch.setattr(decoder, "run", counting)
    some = [*lines[:30], "gtk+ qt kde gnome xfce lxde gtk+ qt kde gnome"]
    plain = [pipeline.generate(line, num_beams=1, **options)[0][0] for line in some]
    before, runs[0] = runs[0], 0
    drafted = [pipeline.generate(line, num_beams=1, prompt_lookup_num_tokens=4, **options)[0][0] for line in some]
    assert [one.tokens for one in drafted] == [one.tokens for one in plain]
    assert [one.score for one in drafted] == pytest.approx([one.score for one in plain], abs=1e-5)
    assert runs[0] < 0.95 * before


def test_several_inputs_decode_side_by_side_without_drafts(pipeline, lines):
    some = lines[:9]
    assert pipeline(some, num_beams=1, prompt_lookup_num_tokens=4) == pipeline(some, num_beams=1)


def test_streamed_pieces_are_the_answer(pipeline, lines):
    for line in lines[:6]:
        assert "".join(pipeline.stream(line, num_beams=1, prompt_lookup_num_tokens=4)) == pipeline(line, num_beams=1)
