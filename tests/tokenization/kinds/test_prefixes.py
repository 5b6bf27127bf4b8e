"""T5-style prefixes: from the checkpoint's task_specific_params, through the settings, before every text."""

import json
from types import SimpleNamespace

import pytest

from zen_edge.errors import OptionError
from zen_edge.exporters.tokenization import prove_tokenizer, save_tokenizer, task_prefixes
from zen_edge.runtimes.tokenization import load_tokenizer

T5 = {
    "summarization": {"prefix": "summarize: ", "num_beams": 4},
    "translation_en_to_de": {"prefix": "translate English to German: "},
    "translation_en_to_fr": {"prefix": "translate English to French: "},
}


@pytest.fixture
def translator(named_kind, tmp_path):
    kind = named_kind("t5")
    prefix, prefixes = task_prefixes(SimpleNamespace(task_specific_params=T5), "translation")
    return kind, load_tokenizer(tmp_path, json.loads(json.dumps(save_tokenizer(kind.reference, tmp_path, prefix, prefixes))))


def test_a_task_of_its_own_has_one_prefix():
    assert task_prefixes(SimpleNamespace(task_specific_params=T5), "summarization") == ("summarize: ", {})


def test_several_language_pairs_leave_the_choice():
    prefix, prefixes = task_prefixes(SimpleNamespace(task_specific_params=T5), "translation")
    assert (prefix, set(prefixes)) == ("", {"en_to_de", "en_to_fr"})


def test_a_single_language_pair_is_the_prefix():
    params = {"translation_en_to_fr": T5["translation_en_to_fr"]}
    assert task_prefixes(SimpleNamespace(task_specific_params=params), "translation")[0] == "translate English to French: "


@pytest.mark.parametrize("config", [SimpleNamespace(), SimpleNamespace(task_specific_params=None), SimpleNamespace(task_specific_params={"a": 3})])
def test_most_checkpoints_have_none(config):
    assert task_prefixes(config, "translation") == ("", {})


def test_the_prefix_stands_before_every_text(named_kind, tmp_path):
    kind = named_kind("t5")
    tokenizer = load_tokenizer(tmp_path, save_tokenizer(kind.reference, tmp_path, prefix="summarize: "))
    assert tokenizer.encode("Hello") == kind.reference_ids("summarize: Hello") != kind.tokenizer.encode("Hello")
    assert tokenizer.decode(tokenizer.encode("Hello")) == "summarize: Hello"
    assert (tokenizer.pad_token_id, tokenizer.max_length, tokenizer.vocab_size) == (0, 512, kind.tokenizer.vocab_size)
    assert prove_tokenizer(kind.reference, tokenizer.encode, tokenizer.decode, tokenizer.forced_bos_token_id, prefix="summarize: ")


def test_languages_choose_a_prefix(translator):
    kind, tokenizer = translator
    assert tokenizer.encode("Hello", target_lang="fr") == kind.reference_ids("translate English to French: Hello")
    assert tokenizer.encode("Hello", source_lang="en", target_lang="de") == kind.reference_ids("translate English to German: Hello")
    assert tokenizer.encode("Hello") == kind.reference_ids("Hello")
    assert tokenizer.forced_bos_token_id("fr") is None


@pytest.mark.parametrize(
    ("languages", "problem"),
    [({"target_lang": "es"}, "target_lang='es' is no language pair"), ({"source_lang": "en"}, "source_lang='en' fits several language pairs")],
)
def test_languages_that_choose_nothing_name_the_pairs(translator, languages, problem):
    with pytest.raises(OptionError, match=f"{problem} of this model; it has source_lang='en', target_lang='de'; source_lang='en', target_lang='fr'"):
        translator[1].encode("Hello", **languages)


def test_a_prefix_does_not_hide_languages(named_kind, tmp_path):
    kind = named_kind("mbart50")
    tokenizer = load_tokenizer(tmp_path, save_tokenizer(kind.reference, tmp_path, prefix="summarize: "))
    assert tokenizer.encode("x", source_lang="en_XX") == kind.tokenizer.encode("summarize: x", source_lang="en_XX")
    assert tokenizer.forced_bos_token_id("ro_RO") == kind.tokenizer.forced_bos_token_id("ro_RO")
