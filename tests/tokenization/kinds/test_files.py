"""What is written, what is refused, and manifests and files that are damaged."""

import json
import subprocess
import sys

import pytest

from zen_edge.errors import BundleError, MissingDependencyError, UnsupportedModelError
from zen_edge.exporters.tokenization import save_tokenizer
from zen_edge.runtimes.tokenization import load_tokenizer

FILES = {
    "fast": {"tokenizer.json"},
    "m2m_100": {"sentencepiece.bpe.model", "vocab.json"},
    "plbart": {"sentencepiece.bpe.model"},
    "byt5": set(),
    "fsmt": {"vocab.json", "target_vocab.json", "merges.json"},
    "blenderbot_small": {"vocab.json", "merges.json"},
    "prophetnet": {"vocab.json"},
}


def test_only_files_that_are_read_are_written(kind):
    assert {path.name for path in kind.folder.iterdir()} == FILES[kind.settings["kind"]]


def test_every_setting_that_is_lacking_is_named(kind):
    for key in kind.settings.keys() - {"kind"}:
        with pytest.raises(BundleError, match=key):
            load_tokenizer(kind.folder, {name: value for name, value in kind.settings.items() if name != key})


@pytest.mark.parametrize("wrong", [{"languages": 3}, {"languages": {"en": "x"}}, {"prefix_ids": 3}, {"pad_token_id": "x"}, {"source_lang": "xx"}])
def test_a_setting_of_the_wrong_kind_is_a_bundle_error(kind, wrong):
    with pytest.raises(BundleError, match="wrong kind of value"):
        load_tokenizer(kind.folder, kind.settings | wrong)


@pytest.mark.parametrize("content", [None, b"", b"[1]", b"\xff\x00 damaged"])
def test_a_damaged_file_is_named(kind, tmp_path, content):
    for damaged in FILES[kind.settings["kind"]]:
        for file in kind.folder.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        if content is None:
            (tmp_path / damaged).unlink()
        else:
            (tmp_path / damaged).write_bytes(content)
        with pytest.raises(BundleError, match=damaged):
            load_tokenizer(tmp_path, kind.settings)


def test_what_a_call_left_behind_is_not_saved(named_kind, tmp_path):
    kind = named_kind("bart")
    kind.reference(["a b c d e f", "a"], truncation=True, max_length=4, padding=True)
    tokenizer = load_tokenizer(tmp_path, save_tokenizer(kind.reference, tmp_path))
    content = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    assert content["truncation"] is None and content["padding"] is None
    assert len(tokenizer.encode("a b c d e f")) > 4


def test_a_class_of_ones_own_is_saved_as_its_base(named_kind, tmp_path):
    reference = named_kind("blenderbot").reference
    mine = type("MyTokenizer", (type(reference),), {})
    assert save_tokenizer(mine(tokenizer_object=reference.backend_tokenizer, pad_token="<pad>"), tmp_path)["kind"] == "fast"


def test_without_a_padding_word_there_is_advice(named_kind, tmp_path, monkeypatch):
    reference = named_kind("umt5").reference
    monkeypatch.setitem(reference._special_tokens_map, "pad_token", None)
    with pytest.raises(UnsupportedModelError, match="no pad_token: set one"):
        save_tokenizer(reference, tmp_path)


@pytest.mark.parametrize("name", ["m2m_100", "plbart"])
def test_sampling_is_refused(named_kind, tmp_path, monkeypatch, name):
    monkeypatch.setattr(named_kind(name).reference, "sp_model_kwargs", {"enable_sampling": True})
    with pytest.raises(UnsupportedModelError, match="enable_sampling"):
        save_tokenizer(named_kind(name).reference, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_sentencepiece_file_that_is_gone_is_written_from_memory(named_kind, tmp_path, monkeypatch):
    kind = named_kind("m2m_100")
    monkeypatch.setattr(kind.reference, "spm_file", "gone")
    save_tokenizer(kind.reference, tmp_path)
    assert (tmp_path / "sentencepiece.bpe.model").read_bytes() == (kind.folder / "sentencepiece.bpe.model").read_bytes()


def test_loading_imports_neither_transformers_nor_torch_nor_what_the_kind_does_not_need(named_kind):
    kind = named_kind("t5")
    code = (
        "import json, sys; from pathlib import Path; from zen_edge.runtimes.tokenization import load_tokenizer\n"
        f"tokenizer = load_tokenizer(Path({str(kind.folder)!r}), json.loads({json.dumps(kind.settings)!r}))\n"
        "print(json.dumps([tokenizer.encode('Hello world.'), sorted({'torch', 'transformers', 'sentencepiece'} & sys.modules.keys())]))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(output) == [kind.reference_ids("Hello world."), []]


def test_moses_is_an_extra(named_kind, monkeypatch):
    kind = named_kind("fsmt")
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    with pytest.raises(MissingDependencyError, match=r'needs sacremoses: pip install "zen-edge\[moses\]"'):
        load_tokenizer(kind.folder, kind.settings)
