"""Loading from a manifest that may hold anything."""

import pytest

from zen_edge.errors import BundleError
from zen_edge.runtimes.tokenization import load_tokenizer


@pytest.mark.parametrize("kind", ["marain", "streaming", "../marian", "os", "", None, 3])
def test_an_unknown_kind_lists_what_exists(shipped_case, kind):
    with pytest.raises(BundleError, match=r"unknown tokenizer kind .* this zen-edge knows .*\bmarian\b"):
        load_tokenizer(shipped_case.folder, shipped_case.settings | {"kind": kind})


def test_a_near_miss_is_suggested(shipped_case):
    with pytest.raises(BundleError, match="Did you mean 'marian'"):
        load_tokenizer(shipped_case.folder, {"kind": "marain"})


def test_a_missing_setting_is_named(shipped_case):
    with pytest.raises(BundleError, match="lack 'eos_token_id'"):
        load_tokenizer(shipped_case.folder, {key: value for key, value in shipped_case.settings.items() if key != "eos_token_id"})


@pytest.mark.parametrize("wrong", [{"added_tokens": 3}, {"added_tokens": ["x"]}, {"special_tokens": None}, {"eos_token_id": "end"}])
def test_a_setting_of_the_wrong_kind_is_a_bundle_error(shipped_case, wrong):
    with pytest.raises(BundleError, match="wrong kind of value"):
        load_tokenizer(shipped_case.folder, shipped_case.settings | wrong)


@pytest.mark.parametrize("name", ["source.spm", "vocab.json"])
@pytest.mark.parametrize("content", [None, b"", b"[1]", b"\xff\x00 damaged"])
def test_a_damaged_file_is_named(shipped_case, tmp_path, name, content):
    for file in shipped_case.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BundleError, match=name):
        load_tokenizer(tmp_path, shipped_case.settings)


def test_a_vocabulary_without_the_unknown_word(shipped_case, tmp_path):
    (tmp_path / "source.spm").write_bytes((shipped_case.folder / "source.spm").read_bytes())
    (tmp_path / "vocab.json").write_text('{"a": 1}')
    with pytest.raises(BundleError, match="lacks the unknown word '<unk>'"):
        load_tokenizer(tmp_path, shipped_case.settings)
