"""The saved cases, and the checkpoint made for them."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from zen_edge.benchmarks import make_checkpoint
from zen_edge.benchmarks.contestants import asked_for
from zen_edge.benchmarks.run import HERE, SHIPPED, _checkpoint, _lines, known, read_case
from zen_edge.errors import ZenEdgeError


@pytest.mark.parametrize("name", known())
def test_a_case_can_be_run(name: str) -> None:
    case = read_case(name)
    elsewhere = case.checkpoint in ("whisper-base", "all-minilm-l6-v2")  # in a folder that ZEN_EDGE_CHECKPOINTS names
    assert (
        elsewhere
        or case.checkpoint in make_checkpoint.SHAPES
        or (HERE.parent / "zen_edge" / "data" / SHIPPED[case.checkpoint] / "config.json").is_file()
    )
    assert len(asked_for(case.against)) == len(case.against)
    assert all(len(shape) == 2 and min(shape) >= 1 for shape in case.shapes)
    assert case.inputs is None or (HERE.parent / case.inputs).is_file()


def test_words_are_expected_of_trained_models_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "0.flac").write_bytes((Path(__file__).parents[1] / "data" / "speech.flac").read_bytes())
    (tmp_path / "0.txt").write_text("There was nobody in the house, but all the lights were on.")
    monkeypatch.setattr("zen_edge.benchmarks.run.spoken", lambda tell: tmp_path)
    for name, targets in (("wav2vec2-base", {None}), ("whisper-base-10s", {"There was nobody in the house, but all the lights were on."})):
        lines = _lines(replace(read_case(name), clip_seconds=6.0, clips=2), tmp_path / name, lambda step: None)
        assert len(lines) == 2 and {line.target for line in lines} == targets


def test_an_unknown_case_is_told() -> None:
    with pytest.raises(ZenEdgeError, match=r"no case 'x'; there are: bart-base, "):
        read_case("x")


def test_a_checkpoint_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZEN_EDGE_CHECKPOINTS", raising=False)
    with pytest.raises(
        ZenEdgeError, match=r"no checkpoint 'whisper-base'; there are: demo, .*, and those in the folders that ZEN_EDGE_CHECKPOINTS names"
    ):
        _checkpoint("whisper-base", lambda step: None)
    (tmp_path / "b" / "whisper-base").mkdir(parents=True)
    (tmp_path / "b" / "whisper-base" / "config.json").write_text("{}")
    monkeypatch.setenv("ZEN_EDGE_CHECKPOINTS", os.pathsep.join(map(str, (tmp_path / "a", tmp_path / "b"))))
    assert _checkpoint("whisper-base", lambda step: None) == (tmp_path / "b" / "whisper-base").resolve()


def test_a_made_checkpoint_has_a_tokenizer(small_checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    folder = small_checkpoint("marian-74m")
    words = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    assert sorted(words.values()) == list(range(58101)) and words["<pad>"] == 58100
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSeq2SeqLM.from_pretrained(folder)
    inputs = tokenizer(["Hello world"], return_tensors="pt")
    assert tokenizer.decode(inputs["input_ids"][0], skip_special_tokens=True) == "Hello world"
    rows = model.generate(**inputs, num_beams=1, min_new_tokens=6, max_new_tokens=6)
    assert rows.shape == (1, 7) and isinstance(tokenizer.decode(rows[0]), str)


@pytest.mark.parametrize("shape", ["bart-base", "t5-base"])
def test_every_id_of_a_made_checkpoint_is_a_word(shape: str, small_checkpoint: Callable[[str], Path]) -> None:
    from transformers import AutoConfig, AutoTokenizer

    tokenizer, config = AutoTokenizer.from_pretrained(small_checkpoint(shape)), AutoConfig.from_pretrained(small_checkpoint(shape))
    spare = 28 if shape == "t5-base" else 0  # as published, the table has more rows than the tokenizer has words
    assert sorted(tokenizer.get_vocab().values()) == list(range(config.vocab_size - spare))
    assert [tokenizer.pad_token_id, tokenizer.eos_token_id] == [config.pad_token_id, config.eos_token_id]
    settings = json.loads((small_checkpoint(shape) / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert "extra_special_tokens" not in settings  # the transformers of other engines cannot read such a list
    text = "A library of tools for reading and writing text files."
    ids = tokenizer(text)["input_ids"]
    assert len(ids) < 40 and tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize("shape", ["marian-74m", "bart-base", "t5-base"])
def test_made_weights_do_not_repeat_a_word(shape: str, small_checkpoint: Callable[[str], Path]) -> None:
    import torch
    from transformers import AutoModelForSeq2SeqLM

    model = AutoModelForSeq2SeqLM.from_pretrained(small_checkpoint(shape)).eval()
    sources = torch.randint(10, 800, (2, 12), generator=torch.Generator().manual_seed(0))
    rows = model.generate(sources, num_beams=1, min_new_tokens=16, max_new_tokens=16)[:, 1:].tolist()
    assert min(len(set(row)) for row in rows) > 5 and rows[0] != rows[1]


def test_made_recognizers_do_not_repeat_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer and narrower layers; words and special tokens are where the published checkpoints have them."""
    import torch
    from transformers import AutoModelForCTC, AutoModelForSpeechSeq2Seq, AutoProcessor

    from zen_edge.sounds import voice

    narrow: dict[str, dict[str, object]] = {
        "whisper-small": {
            **dict.fromkeys(("encoder_layers", "decoder_layers"), 2),
            **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
            **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 64),
            "d_model": 32,
        },
        "wav2vec2-base": {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "conv_dim": (32,) * 7},
    }
    sounds = [voice(32000, 16000, seed) for seed in (0, 1)]
    for name, sizes in narrow.items():
        shape = make_checkpoint.SHAPES[name]
        monkeypatch.setitem(make_checkpoint.SHAPES, name, replace(shape, sizes=shape.sizes | sizes))
        make_checkpoint.write(tmp_path / name, name)
        processor = AutoProcessor.from_pretrained(tmp_path / name)
        inputs = processor(sounds, sampling_rate=16000, return_tensors="pt")
        with torch.no_grad():
            if name == "whisper-small":
                assert processor.tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|en|>", "<|notimestamps|>", "<|30.00|>"]) == [
                    50257,
                    50259,
                    50363,
                    51864,
                ]
                model = AutoModelForSpeechSeq2Seq.from_pretrained(tmp_path / name)
                assert model.config.vocab_size == len(processor.tokenizer) == 51865
                rows = model.generate(**inputs, language="en", min_new_tokens=16, max_new_tokens=16)
            else:
                rows = AutoModelForCTC.from_pretrained(tmp_path / name)(**inputs).logits.argmax(-1)
        assert all(len(set(row)) > 5 for row in rows.tolist())
