"""`source_lang` and `target_lang` through a bundle: the tokens of transformers with `tokenizer.src_lang` set and `forced_bos_token_id` given."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from transformers import M2M100Config, M2M100ForConditionalGeneration, MarianConfig, MarianMTModel, MBartConfig, MBartForConditionalGeneration

from zen_edge import OptionError
from zen_edge.runtimes.pipelines.settings import SettingsReader

# The tokenizer, the model's own architecture where it is tried too, a source with three targets and the word that stands for a target.
M2M100 = (M2M100ForConditionalGeneration, M2M100Config)
NLLB = ("eng_Latn", ("fra_Latn", "zul_Latn", "zho_Hant"), "{}")
SPEAKERS = {
    "mbart50": ("mbart50", None, "en_XX", ("fr_XX", "gl_ES", "zh_CN"), "{}"),
    "nllb": ("nllb", (MBartForConditionalGeneration, MBartConfig), *NLLB),
    "nllb, M2M-100": ("nllb", M2M100, *NLLB),
    "m2m_100": ("m2m_100", M2M100, "en", ("fr", "ha", "zh"), "__{}__"),
}
FREE = {"max_new_tokens": 10}

pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")  # its normalizer is never called


@dataclass(frozen=True)
class Speaker:
    tiny: Any
    source: str
    targets: tuple[str, ...]
    word: str

    def id(self, target: str) -> int:
        return self.tiny.tokenizer.convert_tokens_to_ids(self.word.format(target))

    def of_transformers(self, some, source, target, **options):
        before, self.tiny.tokenizer.src_lang = self.tiny.tokenizer.src_lang, source
        try:
            forced = {} if target is None else {"forced_bos_token_id": self.id(target)}
            return self.tiny.of_transformers(some, **forced, **FREE, **options)
        finally:
            self.tiny.tokenizer.src_lang = before


@pytest.fixture(scope="module", params=[pytest.param(name, marks=[pytest.mark.sweep] * (SPEAKERS[name][1] is M2M100)) for name in SPEAKERS])
def speaker(request, make_tiny, kinds, mbart50):
    """The language is the tokenizer's and the options' affair, so one architecture does for all by default."""
    tokenizer, architecture, *rest = SPEAKERS[request.param]
    return Speaker(make_tiny(kinds[tokenizer], *architecture) if architecture else mbart50, *rest)


@pytest.fixture(scope="module")
def marian(make_tiny, kinds):
    return make_tiny(kinds["multilingual"], MarianMTModel, MarianConfig)


def tokens_of(rows):
    return [[one.tokens if hasattr(one, "tokens") else one[0] for one in line] for line in rows]


@pytest.mark.parametrize("num_beams", [1, 3])
def test_source_and_target(num_beams, speaker, lines):
    tiny, source = speaker.tiny, speaker.source
    some, seen = lines[::130], set()
    for target in speaker.targets:
        found = tiny.pipeline.generate(some, source_lang=source, target_lang=target, num_beams=num_beams, **FREE)
        assert tokens_of(found) == tokens_of(speaker.of_transformers(some, source, target, num_beams=num_beams))
        assert {one.tokens[0] for (one,) in found} == {speaker.id(target)}
        assert not any(speaker.word.format(target) in one.text.split() for (one,) in found)
        seen.add(str([one.tokens[1:] for (one,) in found]))
        backwards = tiny.pipeline.generate(some, source_lang=target, target_lang=source, num_beams=num_beams, **FREE)
        assert tokens_of(backwards) == tokens_of(speaker.of_transformers(some, target, source, num_beams=num_beams))
        seen.add(str([one.tokens[1:] for (one,) in backwards]))
    assert len(seen) == 2 * len(speaker.targets)


def test_a_prefix_comes_after_the_language(speaker, lines):
    tiny, source, target = speaker.tiny, speaker.source, speaker.targets[0]
    prefix = tiny.pipeline._tokenizer.encode_target("le jeu")
    language = speaker.id(target)
    start = torch.tensor([[2, language, *prefix]])
    for num_beams in (1, 3):
        options = {"num_beams": num_beams, **FREE}
        expected = tokens_of(speaker.of_transformers(lines[:1], source, None, decoder_input_ids=start, num_beams=num_beams))
        for given in ("le jeu", prefix, [language, *prefix], [2, language, *prefix]):
            found = tiny.pipeline.generate(lines[0], source_lang=source, target_lang=target, decoder_prefix=given, **options)
            assert tokens_of(found) == expected
        assert found[0][0].text.startswith("le jeu")
    asked = {"source_lang": source, "forced_bos_token_id": language, **options}
    assert tokens_of(tiny.pipeline.generate(lines[0], decoder_prefix="le jeu", **asked)) == expected


def with_defaults(pipeline, monkeypatch, **defaults):
    """The pipeline as if its checkpoint's generation config said so."""
    manifest = replace(pipeline.manifest, generation={**pipeline.manifest.generation, **defaults})
    monkeypatch.setattr(pipeline, "_options", SettingsReader(manifest, pipeline._tokenizer))


def test_without_a_target_it_does_as_generate_does(speaker, lines):
    """Nothing is forced where neither the caller nor the checkpoint's generation config names a language."""
    expected = speaker.of_transformers(lines[:3], speaker.source, None)
    assert tokens_of(speaker.tiny.pipeline.generate(lines[:3], source_lang=speaker.source, **FREE)) == tokens_of(expected)


def test_the_checkpoints_own_target(speaker, lines, monkeypatch):
    tiny, source, (first, second, *_) = speaker.tiny, speaker.source, speaker.targets
    language = speaker.id(first)
    with_defaults(tiny.pipeline, monkeypatch, forced_bos_token_id=language)
    for target in (None, first, second):
        found = tiny.pipeline.generate(lines[:3], source_lang=source, target_lang=target, **FREE)
        assert tokens_of(found) == tokens_of(speaker.of_transformers(lines[:3], source, target or first))


def test_where_the_decoder_starts_from_a_language(mbart50, lines, monkeypatch):
    """As the first mBART and PLBart do: the target takes the place of the start, nothing is forced after it."""
    french, romanian = mbart50.tokenizer.convert_tokens_to_ids(["fr_XX", "ro_RO"])
    with_defaults(mbart50.pipeline, monkeypatch, decoder_start_token_id=french)
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
    tiny, source, target = speaker.tiny, speaker.source, speaker.targets[0]
    for option in ("source_lang", "target_lang"):
        with pytest.raises(OptionError, match=rf"{option}='{target}_' is not a language of this model; it has {target}, .*{source}"):
            tiny.pipeline("a", **{option: f"{target}_"})
    language = speaker.id(target)
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


@pytest.mark.parametrize("value", [5, True, b"fr_XX", ["fr_XX"], {"fr_XX": 1}], ids=repr)
@pytest.mark.parametrize("option", ["source_lang", "target_lang"])
def test_what_is_no_code_of_a_language(option, value, mbart50):
    for ask in (mbart50.pipeline, mbart50.pipeline.generate, mbart50.pipeline.stream):
        with pytest.raises(OptionError, match=re.escape(f"{option} must be the code of a language, not {value!r}.")):
            ask("a", **{option: value})
