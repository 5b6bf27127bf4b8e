"""The saved cases, and the checkpoint made for them."""

import json
from pathlib import Path

import pytest

from zen_edge.benchmarks import make_checkpoint
from zen_edge.benchmarks.contestants import asked_for
from zen_edge.benchmarks.run import HERE, known, read_case
from zen_edge.errors import ZenEdgeError


@pytest.mark.parametrize("name", known())
def test_a_case_can_be_run(name: str) -> None:
    case = read_case(name)
    assert case.checkpoint == "demo" or case.checkpoint in make_checkpoint.SHAPES
    assert len(asked_for(case.against)) == len(case.against)
    assert all(len(shape) == 2 and min(shape) >= 1 for shape in case.shapes)
    assert case.inputs is None or (HERE.parent / case.inputs).is_file()


def test_an_unknown_case_is_told() -> None:
    with pytest.raises(ZenEdgeError, match=r"no case 'x'; there are: demo, marian-74m"):
        read_case("x")


def test_a_made_checkpoint_has_a_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    small = make_checkpoint.SHAPES["marian-74m"] | dict.fromkeys(("d_model", "encoder_ffn_dim", "decoder_ffn_dim"), 8)
    small |= {"encoder_layers": 1, "decoder_layers": 1, "max_position_embeddings": 32}
    monkeypatch.setitem(make_checkpoint.SHAPES, "small", small)
    make_checkpoint.write(tmp_path, "small")
    words = json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8"))
    assert sorted(words.values()) == list(range(58101)) and words["<pad>"] == 58100
    tokenizer, model = AutoTokenizer.from_pretrained(tmp_path), AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    inputs = tokenizer(["Hello world"], return_tensors="pt")
    assert tokenizer.decode(inputs["input_ids"][0], skip_special_tokens=True) == "Hello world"
    rows = model.generate(**inputs, num_beams=1, min_new_tokens=6, max_new_tokens=6)
    assert rows.shape == (1, 7) and isinstance(tokenizer.decode(rows[0]), str)
