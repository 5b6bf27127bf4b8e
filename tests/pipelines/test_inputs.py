"""Every kind of input and option: the right answer, or the right error."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

import zen_edge
from zen_edge import InputError, OptionError, ZenEdgeError

STRANGE = [
    "😀 tool 🚀",
    "a\x00b",
    "\x1b[31mred",
    "two\nlines",
    "\u200b",
    "\ufeff",
    "\u2028",
    "</s>",
    "<pad>",
    "مرحبا",
    "日本語のテキスト",
    "x",
    ".",
    "é" * 100,
]


def test_shapes(pipeline):
    assert pipeline("simple game") == "jeu simple"
    assert pipeline(["simple game"]) == ["jeu simple"]
    assert pipeline(("simple game", "tool")) == ["jeu simple", pipeline("tool")]
    assert pipeline([]) == []
    assert pipeline.generate([]) == pipeline.generate_each([]) == []
    assert pipeline.generate("simple game", num_return_sequences=3)[0][0].text == "jeu simple"
    assert len(pipeline.generate(["simple game", ""], num_return_sequences=3)[1]) == 3
    assert pipeline.generate_each("simple game") == pipeline.generate("simple game")


@pytest.mark.parametrize("blank", ["", " ", "\t\r\n", "\u3000"])
def test_blank_lines(pipeline, blank):
    assert pipeline(blank) == ""
    assert pipeline([blank, "simple game", blank]) == ["", "jeu simple", ""]
    assert list(pipeline.stream(blank)) == []
    assert pipeline.generate(blank)[0][0].tokens == ()


@pytest.mark.parametrize("text", STRANGE, ids=ascii)
def test_strange_text_is_answered_and_streamed(pipeline, text):
    for num_beams in (1, 4):
        answer = pipeline(text, num_beams=num_beams)
        assert pipeline([text, "simple game"], num_beams=num_beams) == [answer, "jeu simple"]
        assert "".join(pipeline.stream(text, num_beams=num_beams)) == answer


def test_half_a_character(pipeline):
    with pytest.raises(InputError, match=r"character 4 is the lone surrogate '\\ud83d'"):
        pipeline("tool\ud83d")
    with pytest.raises(InputError, match="input 2 of 2"):
        pipeline(["tool", "\udcff"])
    first, second = pipeline.generate_each(["simple game", "\udcff"])
    assert first[0].text == "jeu simple"
    assert isinstance(second, InputError)


@pytest.mark.parametrize(
    "value",
    [None, 3, 3.5, True, b"abc", bytearray(b"abc"), {"a": 1}, {"a"}, np.array(["a"]), iter("ab"), object()],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_text(pipeline, value):
    for ask in (pipeline, pipeline.generate, pipeline.generate_each):
        with pytest.raises(InputError, match="expected a text or a list of texts, got"):
            ask(value)
    with pytest.raises(InputError, match="expected a text, got"):
        pipeline.stream(value)
    with pytest.raises(InputError, match="input 2 of 3: expected a text, got"):
        pipeline(["a", value, "b"])
    assert [isinstance(answer, InputError) for answer in pipeline.generate_each(["a", value, "b"])] == [False, True, False]


def test_a_line_longer_than_the_model(pipeline, lines):
    long = " ".join(lines[:40])
    with pytest.raises(InputError, match=r'the text has \d\d\d tokens, the model takes 256: shorten it, or ask for overflow="split" '):
        pipeline(long)
    with pytest.raises(InputError, match="input 2 of 2: the text has"):
        pipeline(["tool", long])
    with pytest.raises(InputError):
        pipeline.stream(long)  # told at once, not at the first piece
    answers = pipeline.generate_each(["simple game", long, ""])
    assert [type(answer) for answer in answers] == [list, InputError, list]

    found = pipeline(long, overflow="truncate", num_beams=1)
    ids = pipeline._tokenizer.encode(long)
    fits = next(end for end in range(len(lines)) if len(pipeline._tokenizer.encode(" ".join(lines[: end + 1]))) > 256)
    assert len(ids) > 256
    assert found
    assert "".join(pipeline.stream(long, overflow="truncate", num_beams=1)) == found
    short = " ".join(lines[:fits])
    assert pipeline(short, overflow="truncate", num_beams=1) == pipeline(short, num_beams=1)


def test_truncation_keeps_the_end_token(pipeline, lines, monkeypatch):
    given = []
    encode = pipeline._model.encode
    monkeypatch.setattr(pipeline._model, "encode", lambda ids, mask: given.append((ids, mask)) or encode(ids, mask))
    pipeline(" ".join(lines[:40]), overflow="truncate", max_new_tokens=1)
    ids, mask = given[0]
    assert ids.shape == (1, 256)
    assert mask.all()
    assert ids[0, -1] == 0
    assert 0 not in ids[0, :-1]


@pytest.mark.parametrize("num_beams", [1, 3])
def test_an_answer_longer_than_the_model(pipeline, num_beams):
    options = {"num_beams": num_beams, "max_new_tokens": 1000}
    assert pipeline("simple game", **options) == "jeu simple"  # it ends by itself
    with pytest.raises(InputError, match=r"the output reached 256 tokens, and the model has no position for another \(256\): lower max_new_tokens"):
        pipeline("simple game", **options, eos_token_id=7999)
    assert len(pipeline.generate("simple game", num_beams=num_beams, max_new_tokens=256, eos_token_id=7999)[0][0].tokens) == 256


def test_lines_that_finished_are_answered_when_the_model_runs_out_of_positions(pipeline, lines, monkeypatch):
    some = lines[:40]
    lengths = [len(one.tokens) for (one,) in pipeline.generate(some)]
    for num_beams in (1, 4):
        whole = pipeline.generate(some, num_beams=num_beams, num_return_sequences=1)
        monkeypatch.setattr(pipeline._model, "max_target_length", sorted(lengths)[20])
        answers = pipeline.generate_each(some, num_beams=num_beams)
        alone = [pipeline.generate_each([line], num_beams=num_beams)[0] for line in some]
        with pytest.raises(InputError, match=r"input \d+ of 40: the output reached"):
            pipeline(some, num_beams=num_beams)
        monkeypatch.undo()
        failed = [isinstance(answer, InputError) for answer in answers]
        assert failed == [isinstance(answer, InputError) for answer in alone]
        assert 5 < sum(failed) < 35
        for answer, expected in zip(answers, whole, strict=True):
            if not isinstance(answer, InputError):
                assert answer[0].tokens == expected[0].tokens
                assert answer[0].score == pytest.approx(expected[0].score, abs=1e-5)


WRONG = [
    ({"num_beam": 2}, "no generation option num_beam; did you mean num_beams"),
    ({"foo": 1}, "no generation option foo"),
    ({"inputs": ["x"]}, "no generation option inputs"),
    ({"scores": True}, "no generation option scores"),
    ({"errors": "return"}, "no generation option errors"),
    ({"num_beams": 0}, "num_beams must be a whole number"),
    ({"num_beams": "4"}, "num_beams must be a whole number"),
    ({"num_beams": 2.5}, "num_beams must be a whole number"),
    ({"num_beams": True}, "num_beams must be a whole number"),
    ({"num_return_sequences": 9}, "num_return_sequences is 9"),
    ({"num_beams": 257}, "num_beams is 257, and the most is 256"),
    ({"decoder_input_ids": [[1]]}, "no generation option decoder_input_ids; decoder_prefix is that, without the start token"),
    ({"shuld_stop": print}, "did you mean should_stop"),
    ({"max_new_tokens": 0}, "max_new_tokens must be"),
    ({"max_new_tokens": -1}, "max_new_tokens must be"),
    ({"max_new_tokens": "many"}, "max_new_tokens must be"),
    ({"max_length": 1}, "max_length is 1"),
    ({"length_penalty": "x"}, "length_penalty must be a number"),
    ({"length_penalty": float("nan")}, "length_penalty must be a number"),
    ({"early_stopping": "yes"}, "early_stopping must be"),
    ({"bad_words_ids": [[]]}, "empty list"),
    ({"bad_words_ids": [["a"]]}, "bad_words_ids"),
    ({"bad_words_ids": [[99999]]}, "bad_words_ids names"),
    ({"forced_bos_token_id": 99999}, "forced_bos_token_id names"),
    ({"decoder_start_token_id": 99999}, "decoder_start_token_id names"),
    ({"pad_token_id": 99999}, "pad_token_id names"),
    ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size must be"),
    ({"repetition_penalty": 0}, "repetition_penalty must be above 0"),
    ({"penalty_alpha": 0.6}, "penalty_alpha=0.6 is not supported"),
    ({"num_beam_groups": 2}, "num_beam_groups=2 is not supported"),
    ({"overflow": "cut"}, "overflow='cut' is not known"),
    ({"overflow": None}, "overflow=None is not known"),
    ({"repetition_guard": None}, "repetition_guard must be true or false"),
    ({"repetition_guard": 1}, "repetition_guard must be true or false"),
    ({"target_lang": "fr"}, "one target language only"),
    ({"source_lang": "en"}, "source_lang"),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_wrong_options(pipeline, options, message):
    for ask in (pipeline, pipeline.generate, pipeline.generate_each, pipeline.stream):
        with pytest.raises(OptionError, match=message):
            ask("simple game", **options)
    with pytest.raises(OptionError, match=message):
        pipeline([], **options)
    with pytest.raises(OptionError, match=message):
        pipeline("", **options)


def test_closed(demo_fp32: Path):
    with zen_edge.load(demo_fp32, threads=1) as opened:
        assert opened("simple game") == "jeu simple"
    for ask in (opened, opened.generate, opened.generate_each, opened.stream):
        for text in ("simple game", ""):
            with pytest.raises(ZenEdgeError, match="this pipeline is closed; load the bundle again"):
                ask(text)
    opened.close()


def test_garbage_collection_frees_the_graphs(demo_fp32: Path):
    pipeline = zen_edge.load(demo_fp32, threads=1)
    session = weakref.ref(pipeline._model._decoder._session)
    pieces = pipeline.stream("simple game")
    next(pieces)
    del pipeline, pieces
    gc.collect()
    assert session() is None
