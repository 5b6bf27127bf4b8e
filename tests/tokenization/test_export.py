"""What the exporter writes, what it refuses, and that its proof sees a wrong id."""

from types import SimpleNamespace

import pytest

from zen_edge.errors import CheckFailedError, UnsupportedModelError
from zen_edge.exporters.tokenization import prove_tokenizer, save_tokenizer


def test_only_files_that_are_read_are_written(case):
    names = {"source.spm", "vocab.json"} | ({"target.spm", "target_vocab.json"} if case.reference.separate_vocabs else set())
    if case.reference.spm_source.serialized_model_proto() != case.reference.spm_target.serialized_model_proto():
        names.add("target.spm")
    assert {path.name for path in case.folder.iterdir()} == names


def test_sentencepiece_files_that_are_gone_are_written_from_memory(shipped_case, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped_case.reference, "spm_files", ["gone", "gone"])
    save_tokenizer(shipped_case.reference, tmp_path)
    assert (tmp_path / "source.spm").read_bytes() == (shipped_case.folder / "source.spm").read_bytes()


def test_another_tokenizer_is_refused_with_the_supported_ones(tmp_path):
    with pytest.raises(
        UnsupportedModelError,
        match=r"is a SimpleNamespace; supported are all of the `tokenizers` library .*BlenderbotSmallTokenizer, ByT5Tokenizer, FSMTTokenizer, .*MarianTokenizer, .*ProphetNetTokenizer",
    ):
        save_tokenizer(SimpleNamespace(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_sampling_is_refused(shipped_case, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped_case.reference, "sp_model_kwargs", {"enable_sampling": True, "nbest_size": -1, "alpha": 0.1})
    with pytest.raises(UnsupportedModelError, match="enable_sampling"):
        save_tokenizer(shipped_case.reference, tmp_path)


def test_two_added_tokens_under_one_id_are_refused(shipped_case, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped_case.reference, "_added_tokens_encoder", {**shipped_case.reference.get_added_vocab(), "<lost>": 0})
    with pytest.raises(UnsupportedModelError, match="<lost>"):
        save_tokenizer(shipped_case.reference, tmp_path)


def test_the_proof_sees_one_wrong_id(shipped_case):
    tokenizer = shipped_case.tokenizer
    with pytest.raises(CheckFailedError, match=r"for 'Hello world\.' the bundle gives the ids"):
        prove_tokenizer(shipped_case.reference, lambda text: tokenizer.encode(text)[int(text == "Hello world.") :], tokenizer.decode)


def test_the_proof_sees_one_wrong_word(shipped_case):
    tokenizer = shipped_case.tokenizer
    with pytest.raises(CheckFailedError, match="the bundle gives the text"):
        prove_tokenizer(shipped_case.reference, tokenizer.encode, lambda ids: tokenizer.decode(ids).replace("paquet", "Paquet"))


def test_the_proof_wants_lone_surrogates_refused(shipped_case):
    tokenizer = shipped_case.tokenizer
    with pytest.raises(CheckFailedError, match="lone surrogate"):
        prove_tokenizer(shipped_case.reference, lambda text: tokenizer.encode(text.encode(errors="replace").decode()), tokenizer.decode)
