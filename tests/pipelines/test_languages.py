"""`source_lang` and `target_lang` through a bundle: the tokens of transformers with `tokenizer.src_lang` set and `forced_bos_token_id` given."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import MarianConfig, MarianMTModel, MBartConfig, MBartForConditionalGeneration

from zen_edge import OptionError

# The tokenizer, and a source with three targets.
SPEAKERS = {"mbart50": ("en_XX", ("fr_XX", "gl_ES", "zh_CN")), "nllb": ("eng_Latn", ("fra_Latn", "zul_Latn", "zho_Hant"))}
FREE = {"max_new_tokens": 10}

pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")  # its normalizer is never called


@pytest.fixture(scope="module", params=SPEAKERS)
def speaker(request, make_tiny, kinds, mbart50):
    """The language is the tokenizer's and the options' affair, so one architecture does for all."""
    if request.param == "mbart50":
        return (mbart50, *SPEAKERS[request.param])
    return (make_tiny(kinds[request.param], MBartForConditionalGeneration, MBartConfig), *SPEAKERS[request.param])


@pytest.fixture(scope="module")
def marian(make_tiny, kinds):
    return make_tiny(kinds["multilingual"], MarianMTModel, MarianConfig)


def of_transformers(tiny, some, source, target, **options):
    before, tiny.tokenizer.src_lang = tiny.tokenizer.src_lang, source
    try:
        return tiny.of_transformers(some, forced_bos_token_id=tiny.tokenizer.convert_tokens_to_ids(target), **FREE, **options)
    finally:
        tiny.tokenizer.src_lang = before


def tokens_of(rows):
    return [[one.tokens if hasattr(one, "tokens") else one[0] for one in line] for line in rows]


@pytest.mark.parametrize("num_beams", [1, 3])
def test_source_and_target(num_beams, speaker, lines):
    tiny, source, targets = speaker
    some, seen = lines[::130], set()
    for target in targets:
        found = tiny.pipeline.generate(some, source_lang=source, target_lang=target, num_beams=num_beams, **FREE)
        assert tokens_of(found) == tokens_of(of_transformers(tiny, some, source, target, num_beams=num_beams))
        assert {one.tokens[0] for (one,) in found} == {tiny.tokenizer.convert_tokens_to_ids(target)}
        assert not any(target in one.text for (one,) in found)
        seen.add(str([one.tokens[1:] for (one,) in found]))
        backwards = tiny.pipeline.generate(some, source_lang=target, target_lang=source, num_beams=num_beams, **FREE)
        assert tokens_of(backwards) == tokens_of(of_transformers(tiny, some, target, source, num_beams=num_beams))
        seen.add(str([one.tokens[1:] for (one,) in backwards]))
    assert len(seen) == 2 * len(targets)


def test_a_prefix_comes_after_the_language(speaker, lines, monkeypatch):
    tiny, source, (target, *_) = speaker
    prefix = tiny.pipeline._tokenizer.encode_target("le jeu")
    language = tiny.tokenizer.convert_tokens_to_ids(target)
    start = torch.tensor([[2, language, *prefix]])
    for num_beams in (1, 3):
        options = {"num_beams": num_beams, **FREE}
        monkeypatch.setattr(tiny.tokenizer, "src_lang", source)
        expected = tokens_of(tiny.of_transformers(lines[:1], decoder_input_ids=start, **options))
        for given in ("le jeu", prefix, [language, *prefix], [2, language, *prefix]):
            found = tiny.pipeline.generate(lines[0], source_lang=source, target_lang=target, decoder_prefix=given, **options)
            assert tokens_of(found) == expected
        assert found[0][0].text.startswith("le jeu")
    asked = {"source_lang": source, "forced_bos_token_id": language, **options}
    assert tokens_of(tiny.pipeline.generate(lines[0], decoder_prefix="le jeu", **asked)) == expected


def test_without_a_target_it_does_as_generate_does(speaker, lines, monkeypatch):
    """Nothing is forced where neither the caller nor the checkpoint's generation config names a language."""
    tiny, source, _ = speaker
    monkeypatch.setattr(tiny.tokenizer, "src_lang", source)
    expected = tiny.of_transformers(lines[:3], **FREE)
    assert tokens_of(tiny.pipeline.generate(lines[:3], source_lang=source, **FREE)) == tokens_of(expected)


def test_the_checkpoints_own_target(speaker, lines, monkeypatch):
    tiny, source, (first, second, *_) = speaker
    language = tiny.tokenizer.convert_tokens_to_ids(first)
    monkeypatch.setattr(
        tiny.pipeline, "manifest", replace(tiny.pipeline.manifest, generation={**tiny.pipeline.manifest.generation, "forced_bos_token_id": language})
    )
    for target in (None, first, second):
        found = tiny.pipeline.generate(lines[:3], source_lang=source, target_lang=target, **FREE)
        assert tokens_of(found) == tokens_of(of_transformers(tiny, lines[:3], source, target or first))


def test_where_the_decoder_starts_from_a_language(mbart50, lines, monkeypatch):
    """As the first mBART and PLBart do: the target takes the place of the start, nothing is forced after it."""
    french, romanian = mbart50.tokenizer.convert_tokens_to_ids(["fr_XX", "ro_RO"])
    generation = {**mbart50.pipeline.manifest.generation, "decoder_start_token_id": french}
    monkeypatch.setattr(mbart50.pipeline, "manifest", replace(mbart50.pipeline.manifest, generation=generation))
    monkeypatch.setattr(mbart50.tokenizer, "src_lang", "en_XX")
    for target, start in ((None, french), ("fr_XX", french), ("ro_RO", romanian)):
        expected = mbart50.of_transformers(lines[:3], decoder_start_token_id=start, **FREE)
        assert tokens_of(mbart50.pipeline.generate(lines[:3], source_lang="en_XX", target_lang=target, **FREE)) == tokens_of(expected)
    expected = mbart50.of_transformers(lines[:1], decoder_input_ids=torch.tensor([[romanian, 40, 41]]), decoder_start_token_id=romanian, **FREE)
    found = mbart50.pipeline.generate(lines[0], source_lang="en_XX", target_lang="ro_RO", decoder_prefix=[40, 41], **FREE)
    assert tokens_of(found) == tokens_of(expected)
    with pytest.raises(OptionError, match="target_lang='ro_RO' is decoder_start_token_id="):
        mbart50.pipeline.generate(lines[0], target_lang="ro_RO", decoder_start_token_id=french)


def test_unknown_languages_name_the_nearest_first(speaker):
    tiny, source, (target, *_) = speaker
    for option in ("source_lang", "target_lang"):
        with pytest.raises(OptionError, match=rf"{option}='{target[:2]}' is not a language of this model; it has {target}, .*{source}"):
            tiny.pipeline("a", **{option: target[:2]})
    language = tiny.tokenizer.convert_tokens_to_ids(target)
    with pytest.raises(
        OptionError, match=rf"target_lang='{target}' is forced_bos_token_id={language}, and forced_bos_token_id=7 is given: leave one out"
    ):
        tiny.pipeline("a", target_lang=target, forced_bos_token_id=7)
    assert tiny.pipeline("a", target_lang=target, forced_bos_token_id=language)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_marian_writes_the_language_before_the_text(num_beams, marian, lines):
    some, seen = lines[::130], set()
    for target in ("fra", "deu", "zh_Hans"):
        options = {"num_beams": num_beams, **FREE}
        found = marian.pipeline.generate(some, target_lang=target, **options)
        assert tokens_of(found) == tokens_of(marian.of_transformers([f">>{target}<< {line}" for line in some], **options))
        assert tokens_of(found) == tokens_of(marian.pipeline.generate([f">>{target}<< {line}" for line in some], **options))
        seen.add(str(tokens_of(found)))
    assert len(seen) == 3
    with pytest.raises(OptionError, match="target_lang='fr' is not a language of this model; it has fra, deu, zh_Hans"):
        marian.pipeline("a", target_lang="fr")
    with pytest.raises(OptionError, match="source_lang='eng': a Marian model finds the source language in the text itself"):
        marian.pipeline("a", source_lang="eng")
