"""The answers of transformers' question-answering pipeline, which version 5 does not have any more: those that version 4.57 gave are in tests/data."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import zen_edge
from zen_edge import check
from zen_edge.cli import app
from zen_edge.errors import InputError, OptionError, UnsupportedModelError
from zen_edge.exporters import export
from zen_edge.runtimes.pipelines.answers import Answer, best_spans

DATA = Path(__file__).parents[1] / "data" / "question_answering"


@pytest.fixture(scope="module")
def record():
    """The module that recorded them: the models, the questions, the options."""
    spec = spec_from_file_location("record_answers", DATA / "record.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def recorded():
    return json.loads((DATA / "answers.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def exported(record, tmp_path_factory):
    """exported("bert"): the folder of that checkpoint and its bundle, checked against PyTorch on the way; made once."""
    made = {}

    def make(kind):
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            record.write_checkpoint(kind, made[kind] / "checkpoint")
            export(made[kind] / "checkpoint", made[kind] / "bundle", verify=check.verify)
        return made[kind]

    return make


@pytest.fixture(scope="module")
def answerer(exported):
    return lambda kind: zen_edge.load(exported(kind) / "bundle", threads=1)


@pytest.fixture
def zen(exported):
    """zen("--question", "x"): `zen-edge run` of BERT's bundle."""

    def run(*arguments, input=None):
        return CliRunner().invoke(app, ["run", str(exported("bert") / "bundle"), *map(str, arguments)], input=input)

    return run


@pytest.mark.parametrize("kind", ["bert", pytest.param("roberta", marks=pytest.mark.sweep), pytest.param("albert", marks=pytest.mark.sweep)])
def test_the_same_answers_as_the_pipeline_of_transformers(answerer, record, recorded, kind):
    """In windows and whole, in many scripts, with every option; WordPiece, byte-level BPE and Unigram."""
    ask = answerer(kind)
    for (question, context, options), expected in zip(record.cases(), recorded[kind], strict=True):
        found = ask(question=question, context=context, **options)
        found = found if isinstance(found, list) else [found]
        expected = [row for row in expected if row[1] > 0]  # of no probability: whatever came first
        assert [(one.text, one.start, one.end) for one in found] == [(text, start, end) for text, _, start, end in expected], (question, options)
        assert [one.score for one in found] == pytest.approx([score for _, score, *_ in expected], abs=1e-5)
        assert all(one.text == context[one.start : one.end] for one in found)


def test_several_questions(answerer, record):
    ask, (story, long, *_) = answerer("bert"), record.CONTEXTS
    one, two = record.QUESTIONS[:2]
    alone = [ask(question=one, context=story), ask(question=two, context=long)]
    assert_same(ask(question=[one, two], context=[story, long]), alone)
    assert_same(ask(question=[one, two], context=story), [alone[0], ask(question=two, context=story)])
    (first, second) = ask(question=[one, two], context=[story, long], top_k=3)
    assert_same([first[0], second[0]], alone)
    assert len(first) == 3
    assert_same(ask(question=[one] * 300, context=[long] * 299 + [story])[-1:], alone[:1])  # more windows than are seen at a time
    assert ask(question=[], context="x") == []


def assert_same(found, expected):
    """But for what batches round."""
    assert [(one.text, one.start, one.end) for one in found] == [(one.text, one.start, one.end) for one in expected]
    assert [one.score for one in found] == pytest.approx([one.score for one in expected], abs=1e-5)


def test_one_bad_input_among_others(answerer, record):
    good = {"question": "When?", "context": record.STORY}
    long = {"question": "when and where " * 60, "context": record.STORY}
    found = answerer("bert").generate_each(
        [good, {"question": " ", "context": "x"}, {"question": "x", "context": "\n"}, {"question": "x"}, long, good]
    )
    assert [type(one) for one in found] == [list, InputError, InputError, InputError, InputError, list]
    assert [str(one).split(":")[0] for one in found[1:4]] == ["the question is blank", "the context is blank", 'expected {"question"']
    assert "leaves no room for the context in 128" in str(found[4])
    assert_same(found[0], found[5])
    with pytest.raises(InputError, match="input 2 of 2: the context is blank"):
        answerer("bert")(question=["When?", "Where?"], context=["x", ""])


def test_a_question_can_be_cut(answerer, record):
    ask = answerer("bert")
    cut = ask(question="? ! , " * 60, context=record.STORY, max_question_len=4)
    assert_same([cut], [ask(question="? ! , ?", context=record.STORY)])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"topk": 3}, "did you mean top_k"),
        ({"num_beams": 3}, "there are top_k, max_answer_len"),
        ({"top_k": 0}, "top_k must be a whole number from 1, not 0"),
        ({"max_answer_len": True}, "max_answer_len must be a whole number from 1, not True"),
        ({"doc_stride": -1}, "doc_stride must be a whole number from 0"),
        ({"align_to_words": 1}, "align_to_words must be true or false"),
        ({"max_seq_len": 129}, "max_seq_len=129 is more than the 128 tokens"),
        ({"max_seq_len": 30, "doc_stride": 31}, "doc_stride=31 is more than max_seq_len=30"),
    ],
)  # fmt: skip
def test_options_that_are_refused(answerer, options, said):
    with pytest.raises(OptionError, match=said):
        answerer("bert")(question="x", context="y", **options)


@pytest.mark.parametrize("given", [{"question": 3, "context": "x"}, {"question": ["x"], "context": ["x", "y"]}, {"question": "x", "context": ["x"]}])
def test_inputs_that_do_not_go_together(answerer, given):
    with pytest.raises(InputError, match="expected"):
        answerer("bert")(**given)


def test_where_no_word_is_likely_there_is_an_empty_answer(answerer):
    assert answerer("bert")(question="x", context="\u200b\u200b") == Answer("", 0.0, 0, 0)


def test_the_command_line(zen, answerer, record, tmp_path):
    question, context = record.QUESTIONS[0], record.CONTEXTS[2]
    best = answerer("bert")(question=question, context=context)
    assert zen("--question", question, "--context", context).stdout == f"{best.text}\n"
    assert zen("--question", question, context, record.STORY).stdout.splitlines()[0] == best.text
    assert zen(question, "--pair", context).stdout == f"{best.text}\n"
    assert len(zen("Who?", "When?", "--pair", context).stdout.splitlines()) == 2
    (tmp_path / "context.txt").write_text(context, encoding="utf-8")
    found = json.loads(zen("--question", question, "--file", tmp_path / "context.txt", "--json").stdout)
    assert found == {"text": best.text, "answer": best.text, "start": best.start, "end": best.end, "score": pytest.approx(best.score, abs=1e-5)}
    several = json.loads(zen("--question", question, "--context", context, "--json", "--top-k", 3, "--option", "max_answer_len=4").stdout)
    assert len(several["hypotheses"]) == 3 and several["answer"] == several["hypotheses"][0]["answer"]


def test_lines_of_json(zen, answerer, record, tmp_path):
    good = {"question": record.QUESTIONS[0], "context": record.STORY}
    rows = "\n".join(map(json.dumps, [good, {"question": "x", "context": " "}, {"question": "x"}, good, "no object"])) + "\nno JSON\n"
    (tmp_path / "questions.jsonl").write_text(rows, encoding="utf-8")
    for given in ({"input": rows}, {}):
        done = zen("--json", *([] if given else ["--file", tmp_path / "questions.jsonl"]), **given)
        found = [json.loads(row) for row in done.stdout.splitlines()]
        assert [[*row] == ["error"] for row in found] == [False, True, True, False, True, True]
        assert found[0] == found[3] and found[0]["answer"] == answerer("bert")(**good).text
        assert done.exit_code == 1


def test_parity_scores_answers(exported, answerer, record, tmp_path):
    """Questions that are longer than a window, with one right answer, several, or none; the answers of PyTorch are the bundle's."""
    rows = [{"question": record.QUESTIONS[i % 3], "context": context} for i, context in enumerate(record.CONTEXTS)]
    best = [answer.text for answer in answerer("bert")(question=[row["question"] for row in rows], context=[row["context"] for row in rows])]
    golds = [["x", text] if i % 2 else {"text": [], "answer_start": []} if i == 4 else "no such words" for i, text in enumerate(best)]
    rows = [row | {"answers": answers} for row, answers in zip(rows, golds, strict=True)]
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    folder = exported("bert")
    report = check.parity(folder / "bundle", folder / "checkpoint", inputs=path, keep=False)
    assert report.passed and report.about["lines"] == len(rows)
    assert {name: score.reference == score.bundle for name, score in report.text.items()} == {"EM": True, "F1": True}
    assert 10 < report.text["EM"].bundle <= 50
    path.write_text('{"question": "x", "context": 3}', encoding="utf-8")
    with pytest.raises(InputError, match="line 1, should be an object"):
        check.parity(folder / "bundle", folder / "checkpoint", inputs=path)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--context", "x"], 2, "--context needs a --question"),
        (["--question", "x", "--context", "y", "z"], 2, "leave out other texts"),
        (["--question", "x", "--pair", "y"], 2, "leave out --question and --context"),
        (["--question", "x", "--context", "y", "--num-beams", "2"], 1, "there is no option num_beams of question-answering"),
        (["--question", "x", "--file", "nowhere.txt"], 1, "cannot be read"),
    ],
)
def test_arguments_that_are_refused(zen, arguments, status, said):
    done = zen(*arguments)
    assert done.exit_code == status and said in " ".join(done.stderr.replace("│", " ").split())


def test_spans_by_brute_force():
    rng = np.random.default_rng(0)
    for T, longest, count in ((9, 3, 5), (4, 15, 40), (1, 1, 1), (30, 30, 7)):
        start, end = rng.random((2, T), np.float32)
        allowed = rng.random(T) < 0.8
        every = sorted(((float(start[i] * end[j]), i, j) for i in range(T) for j in range(i, min(T, i + longest))), reverse=True)
        expected = [(i, j, score) for score, i, j in every[:count] if allowed[i] and allowed[j]]
        assert best_spans(start, end, count, longest, allowed) == expected


def test_a_tokenizer_that_pads_on_the_left_is_refused(record, tmp_path):
    record.write_checkpoint("bert", tmp_path / "checkpoint")
    settings = json.loads((tmp_path / "checkpoint" / "tokenizer_config.json").read_text())
    (tmp_path / "checkpoint" / "tokenizer_config.json").write_text(json.dumps(settings | {"padding_side": "left"}))
    with pytest.raises(UnsupportedModelError, match="left and right"):
        export(tmp_path / "checkpoint", tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
