"""Vectors and answers side by side: what engines are asked, and what theirs are held against."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from zen_edge.benchmarks.contestants import Contestant
from zen_edge.benchmarks.engines import engine
from zen_edge.benchmarks.inputs import questions
from zen_edge.benchmarks.make_checkpoint import SHAPES, bert_tokenizer
from zen_edge.benchmarks.measure import Measured
from zen_edge.benchmarks.rows import quality
from zen_edge.benchmarks.terminal import scores
from zen_edge.cli import app
from zen_edge.errors import InputError, ZenEdgeError
from zen_edge.exporters import export
from zen_edge.inputs import Line

DATA = Path(__file__).parents[1] / "data"


def measured(name, texts):
    return Measured(Contestant(name, engine("torch"), "fp32", Path(), Path()), 1.0, {}, texts=dict(enumerate(texts)))


def test_vectors_are_compared_by_their_cosine():
    reference, near = measured("torch fp32", [[1.0, 0.0], [0.0, 2.0]]), measured("zen-edge int8", [[3.0, 0.0], [1.0, 1.0]])
    found = quality(near, reference, [Line("a"), Line("b")], "text-embedding")
    assert found == {"lines": 2, "cosine": round((1 + 0.5**0.5) / 2, 6), "cosine_min": round(0.5**0.5, 6), "agreement_with": "torch fp32"}
    assert scores({"quality": found}) == ["-", "0.7071"]


def test_answers_are_held_against_all_right_ones(tmp_path):
    rows = [{"question": "a", "context": "b c", "answers": ["b", "c"]}, {"question": "d", "context": "e f", "answers": ["e"]}]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    lines = questions(tmp_path / "questions.jsonl", None)
    assert json.loads(lines[0].source) == {"question": "a", "context": "b c"}
    found = quality(measured("x", ["C.", "e f"]), None, lines, "question-answering")
    assert found == {"lines": 2, "em": 50, "f1": round(100 * (1 + 2 / 3) / 2, 2)}
    assert scores({"quality": found})[0] == "50.0/83.3"
    with pytest.raises(InputError, match="give --inputs"):
        questions(None, None)


def test_an_engine_that_has_no_such_load_says_who_has():
    with pytest.raises(ZenEdgeError, match="not for text-embedding; there are: openvino, torch"):
        engine("ctranslate2").require_task("text-embedding")


def test_the_tokenizer_of_the_made_checkpoint(tmp_path):
    from transformers import AutoConfig, AutoTokenizer

    config = AutoConfig.for_model("bert", **SHAPES["bert-base"].sizes)
    config.save_pretrained(tmp_path)
    bert_tokenizer(tmp_path, SimpleNamespace(config=config))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer("Library of tools")["input_ids"]
    assert len(tokenizer) == 30522 and tokenizer.unk_token_id not in ids and len(ids) < 12
    assert tokenizer.decode(ids, skip_special_tokens=True) == "library of tools"


@pytest.mark.sweep
@pytest.mark.parametrize("task", ["text-embedding", "question-answering"])
def test_beside_pytorch(tmp_path, task):
    folder = "text_embedding" if task == "text-embedding" else "question_answering"
    record = runpy.run_path(str(DATA / folder / "record.py"))
    write, variant = record["write_checkpoint"], tmp_path / "checkpoint"
    write(variant, "mean") if task == "text-embedding" else write("bert", variant)
    bundle = export(variant, tmp_path / "bundle").path
    rows = [{"question": "When?", "context": text, "answers": [text.split()[0]]} for text in ("The tower of 1907.", "It stands on a rock.")]
    (tmp_path / "lines.jsonl").write_text("\n".join(json.dumps(row | {"source": row["context"]}) for row in rows))
    arguments = ["--against", "torch", "--model", variant, "--inputs", tmp_path / "lines.jsonl", "--rounds", "2", "--batch-sizes", "1,2", "--json"]
    done = CliRunner().invoke(app, ["bench", str(bundle), *map(str, arguments)])
    found = json.loads(done.stdout)
    assert done.exit_code == 0 and len(found["cases"]) == 4 and not found["failures"]
    ours, theirs, *_ = (row["quality"] for row in found["cases"])
    if task == "text-embedding":
        assert ours["cosine_min"] == pytest.approx(1, abs=1e-5)
    else:
        assert {"em", "f1"} <= ours.keys() & theirs.keys()  # the other one's answers are not whole words
    assert all(np.isfinite(row["tokens_per_second"]) for row in found["cases"])
