"""Language codes: the ids around a text and the one that generation begins with, as transformers sets them."""

import pytest

from zen_edge.errors import CheckFailedError, OptionError
from zen_edge.exporters.tokenization import prove_tokenizer

# builder, codes and how many there are, source and target of the checkpoint
SCHEMES = (
    ("mbart", ("en_XX", "ro_RO"), 25, "en_XX", "ro_RO"),
    ("mbart50", ("en_XX", "gl_ES"), 52, "fr_XX", None),
    ("nllb", ("eng_Latn", "zul_Latn"), 202, "eng_Latn", "fra_Latn"),
    ("nllb_legacy_with_few_languages", ("eng_Latn", "zho_Hans"), 3, "zho_Hans", None),
    ("m2m_100", ("en", "fr"), 100, "en", "fr"),
    ("m2m_100_bare", ("en", "ha"), 8, "en", None),
    ("plbart", ("java", "en_XX"), 3, None, None),
    ("plbart_multi", ("java", "php"), 7, "java", "python"),
)


@pytest.fixture(params=SCHEMES, ids=lambda scheme: scheme[0])
def scheme(request):
    return request.param


def speak(reference, code, text="Hello world."):
    """transformers' own preparation of a translation to `code`, from every language."""
    before = reference.src_lang, reference.tgt_lang
    inputs = reference._build_translation_inputs(text, src_lang=code, tgt_lang=code, return_tensors=None)
    reference.src_lang, reference.tgt_lang = before
    return list(inputs["input_ids"]), inputs["forced_bos_token_id"]


def test_source_and_target_are_those_of_transformers(named_kind, scheme):
    name, codes, count, _, _ = scheme
    kind = named_kind(name)
    assert len(kind.settings["languages"]) == count
    seen = set()
    for code in codes:
        ids, forced = speak(kind.reference, code) if "plbart" not in name else plbart(kind.reference, code)
        assert kind.tokenizer.encode("Hello world.", source_lang=code) == ids
        assert kind.tokenizer.forced_bos_token_id(code) == forced != kind.reference.unk_token_id
        assert forced in ids  # the language itself stands in the source
        seen.add(tuple(ids))
    assert len(seen) == len(codes)


def plbart(reference, code):
    """PLBart's own preparation forgets the source language."""
    before = reference.src_lang
    reference.src_lang = code
    ids = list(reference("Hello world.")["input_ids"])
    reference.src_lang = before
    return ids, reference.lang_code_to_id[f"__{code}__"]


def test_the_languages_of_the_checkpoint_are_the_defaults(named_kind, scheme):
    name, _, _, source, target = scheme
    kind = named_kind(name)
    assert kind.tokenizer.encode("x") == kind.tokenizer.encode("x", source_lang=source) == kind.reference_ids("x")
    assert kind.tokenizer.forced_bos_token_id(None) == (None if target is None else kind.tokenizer.forced_bos_token_id(target))


def test_saving_leaves_the_tokenizer_as_it_was(named_kind, scheme):
    kind = named_kind(scheme[0])
    plain = None if kind.reference.src_lang is None else kind.reference.src_lang.strip("_")
    assert plain == scheme[3]


def test_an_unknown_language_names_all_nearest_first(named_kind):
    tokenizer = named_kind("nllb").tokenizer
    with pytest.raises(OptionError, match=r"source_lang='fra' is not a language of this model; it has fra_Latn, .*eng_Latn"):
        tokenizer.encode("x", source_lang="fra")
    with pytest.raises(OptionError, match=r"target_lang='zho_Hant ' is not a language of this model; it has zho_Hant, zho_Hans, "):
        tokenizer.encode("x", target_lang="zho_Hant ")
    with pytest.raises(OptionError, match=r"target_lang='english' is not .* it has eng_Latn, "):
        tokenizer.forced_bos_token_id("english")


@pytest.mark.parametrize("name", ["t5", "bart", "byt5", "blenderbot_small", "prophetnet", "nllb_without_languages"])
def test_models_without_languages_say_so(named_kind, name):
    tokenizer = named_kind(name).tokenizer
    assert tokenizer.forced_bos_token_id(None) is None
    with pytest.raises(OptionError, match="source_lang='fr': this model has no language codes; leave source_lang out"):
        tokenizer.encode("x", source_lang="fr")
    with pytest.raises(OptionError, match="target_lang='fr': this model has no language codes"):
        tokenizer.encode("x", target_lang="fr")
    with pytest.raises(OptionError, match="target_lang='fr'"):
        tokenizer.forced_bos_token_id("fr")


def test_the_proof_sees_one_wrong_language(named_kind):
    kind = named_kind("mbart50")
    ours = kind.tokenizer
    with pytest.raises(CheckFailedError, match="source_lang='gl_ES'"):
        prove_tokenizer(
            kind.reference,
            lambda text, source_lang=None: ours.encode(text, source_lang="en_XX" if source_lang == "gl_ES" else source_lang),
            ours.decode,
        )
    with pytest.raises(CheckFailedError, match="forced_bos_token_id"):
        prove_tokenizer(kind.reference, ours.encode, ours.decode, lambda code: ours.forced_bos_token_id("en_XX" if code == "gl_ES" else code))
