"""Borders of sentences in many scripts; only borders are taken from the library, so no text can change."""

from __future__ import annotations

import random
import sys
import types

import pytest

from zen_edge.runtimes.text.sentences import library_code, sentence_ends


def sentences(text: str, language: str | None = None) -> list[str]:
    ends = sentence_ends(text, language)
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", ["Dr. Smith went to the U.S. ", "He saw e.g. 3.14 of them. ", "“Stop!” he said. ", "Really? ", "See http://x.org/a.b for more."]),
        ("deu_Latn", ["Das ist z.B. ein Test vom 3. Mai. ", "Herr Dr. Müller kam. ", "Wirklich?"]),
        ("fr_XX", ["« Bonjour ! » dit-il. ", "Vraiment ? ", "Oui."]),
        ("zh", ["今天天气很好。", "我们去公园吧！", "你觉得呢？"]),
        ("jpn_Jpan", ["今日は天気がいいです。", "公園に行きましょう！", "終わり。"]),
        ("ar_AR", ["ذهبت إلى السوق. ", "هل اشتريت شيئا؟ ", "نعم، اشتريت الخبز!"]),
        ("hin_Deva", ["मैं बाज़ार गया। ", "क्या तुमने कुछ खरीदा? ", "हाँ!"]),
        ("ko", ["오늘은 날씨가 좋습니다. ", "공원에 갑시다! ", "어떻게 생각하세요?"]),
        (None, ["It ends. ", "今天天气很好。", "हाँ। ", "هل اشتريت شيئا؟ ", "So."]),
    ],
)
def test_sentences(language, expected):
    assert sentences("".join(expected), language) == expected


def test_codes():
    assert [library_code(code) for code in ("en", "de_DE", "deu_Latn", "pt-br", "zho_Hans", "xyz", "", None)] == [
        "en",
        "de",
        "de",
        "pt",
        "zh",
        "xyz",
        "en",
        "en",
    ]


def test_an_unknown_language_is_split_all_the_same():
    assert sentences("One. Two.", "xyz_Latn") == ["One. ", "Two."]


def test_borders_cover_any_text(texts):
    for text in texts:
        for language in ("en", "de", "ja"):
            assert "".join(sentences(text, language)) == text
            assert all(sentences(text, language))


def test_white_space_of_all_kinds(capfd):
    """The library loses its place at some of it, and says so on stderr: it never sees it."""
    draw = random.Random(3)
    kinds = ["B", "a", ".", "1.", "!", "(", "J.", *(chr(code) for code in range(0x3001) if chr(code).isspace())]
    for text in ("A B\u3000. Then", "A B\u00a0. Then", *("".join(draw.choices(kinds, k=12)) for _ in range(3000))):
        assert "".join(sentences(text)) == text
    assert capfd.readouterr().err == ""


def test_a_fault_of_the_library_is_not_ours(monkeypatch):
    class PanicException(BaseException):
        pass

    def panic(language, text):
        raise PanicException("end byte index 12 is not a char boundary")

    monkeypatch.setitem(sys.modules, "sentencex", types.SimpleNamespace(get_sentence_boundaries=panic))
    assert sentences("One. “Two!” Three? 四。五") == ["One. ", "“Two!” ", "Three? ", "四。", "五"]

    def stop(language, text):
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "sentencex", types.SimpleNamespace(get_sentence_boundaries=stop))
    with pytest.raises(KeyboardInterrupt):
        sentence_ends("One.")
