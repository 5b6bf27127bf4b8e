"""overflow="split", end to end: documents longer than the model."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from zen_edge import InputError
from zen_edge.manifest import read_manifest
from zen_edge.runtimes.pipelines.progress import Progress
from zen_edge.runtimes.pipelines.summarization import Pipeline as Summarizer
from zen_edge.runtimes.text.pieces import Fit, by_budget, by_sentence

psutil = pytest.importorskip("psutil")
SPLIT = {"overflow": "split", "num_beams": 1}


def sentence(line: str) -> str:
    line = line[0].upper() + line[1:].strip()
    return line if line[-1] in ".!?:" else f"{line}."


def written(lines: list[str], characters: int) -> str:
    """Paragraphs of three to eight of the lines, at least so many characters."""
    draw, paragraphs, size = random.Random(5), list[str](), 0
    while size < characters:
        paragraphs.append(" ".join(map(sentence, draw.choices(lines, k=draw.randint(3, 8)))))
        size += len(paragraphs[-1]) + 2
    return "\n\n".join(paragraphs)


@pytest.fixture(scope="module")
def document(lines) -> str:
    """A title, paragraphs, a list, blank lines, indentation."""
    listed = "".join(f"  - {line}\n" for line in lines[20:26])
    return f"# {lines[0]}\n\n{written(lines[40:], 2500)}\n\n\n{listed}\n-----\n\n    {sentence(lines[30])}\n"


@pytest.fixture(scope="module")
def summarizer(demo_fp32: Path) -> Iterator[Summarizer]:
    """The shipped model, its texts treated as a summarizer treats them."""
    with Summarizer(demo_fp32, read_manifest(demo_fp32), threads=1) as opened:
        yield opened


@pytest.mark.parametrize("num_beams", [1, 4])
def test_a_document_is_its_sentences_translated_in_their_places(pipeline, document, num_beams):
    options = {"num_beams": num_beams, "repetition_guard": False}
    ((whole,),) = pipeline.generate(document, overflow="split", **options)
    alone = pipeline.generate([" ".join(source.split()) for source, _ in whole.segments], **options)
    assert [part.tokens for _, part in whole.segments] == [one.tokens for (one,) in alone]
    assert len(alone) > 30

    rest, expected = document, ""
    for source, part in whole.segments:
        before, rest = rest.split(source, 1)
        assert not any(map(str.isalpha, before))
        expected += before + part.text
    assert whole.text == expected + rest
    assert whole.text.startswith("# ")
    assert whole.text.count("\n\n") == document.count("\n\n")
    assert whole.text.endswith("\n")

    assert whole.tokens == tuple(token for (one,) in alone for token in one.tokens)
    assert whole.score == pytest.approx(sum(one.score * len(one.tokens) for (one,) in alone) / len(whole.tokens), abs=1e-5)
    assert pipeline(document, overflow="split", **options) == whole.text


def test_a_text_that_fits_is_one_input(pipeline, lines):
    short = f"{sentence(lines[1])} {sentence(lines[2])}\n\n{lines[3]}"
    (one,), (plain,) = (pipeline.generate(short, num_beams=1, **options)[0] for options in ({"overflow": "split"}, {}))
    assert (one.text, one.tokens, one.segments) == (plain.text, plain.tokens, ())


def test_documents_lines_blanks_and_errors_together(pipeline, document, lines):
    texts = [lines[3], document, "", 7, "a\ud83d " * 300, document[:1500], "word " * 400, "....\n" * 400]
    found = pipeline.generate_each(texts, **SPLIT)
    assert [type(answer) for answer in found] == [list, list, list, InputError, InputError, list, list, list]
    assert found[0][0].text == pipeline(lines[3], num_beams=1)
    assert found[1][0].text == pipeline(document, **SPLIT)
    assert found[2][0].text == ""
    assert found[5][0].text == pipeline(document[:1500], **SPLIT)
    assert found[7][0].text == "....\n" * 400  # nothing in it is for a translator
    assert found[7][0].segments == ()
    with pytest.raises(InputError, match="input 2 of 2: expected a text"):
        pipeline([document, None], **SPLIT)


def test_a_word_of_five_thousand_letters(pipeline):
    ((whole,),) = pipeline.generate("pneumonoultra" * 385, **SPLIT)
    assert len(whole.segments) > 20
    assert "".join(source for source, _ in whole.segments) == "pneumonoultra" * 385
    assert len(pipeline._tokenizer.encode(whole.segments[0].source)) <= 256


def test_no_part_is_longer_than_its_output_may_be(pipeline, document):
    """The shipped model stops at 128 tokens, and a part has room for half as many again as it has itself."""
    ((whole,),) = pipeline.generate(document.replace(".", "").replace("\n", " "), **SPLIT)
    lengths = [len(pipeline._tokenizer.encode(source)) for source, _ in whole.segments]
    assert 60 < max(lengths) <= 84


@pytest.mark.parametrize(("options", "message"), [({"num_return_sequences": 2, "num_beams": 2}, "leave num_return_sequences at 1"), ({"decoder_prefix": "Le"}, "decoder_prefix cannot tell")])  # fmt: skip
def test_what_a_split_text_cannot_have(pipeline, document, options, message):
    asked = {"overflow": "split", **options}
    for ask in (pipeline, pipeline.generate, pipeline.stream):
        with pytest.raises(InputError, match=message):
            ask(document, **asked)
    short, long = pipeline.generate_each(["simple game", document], **asked)
    assert short == pipeline.generate("simple game", **options)[0]
    assert isinstance(long, InputError)


def test_log_probabilities_of_all_parts(pipeline, document):
    ((whole,),) = pipeline.generate(document[:1500], **SPLIT, token_log_probs=True)
    assert len(whole.log_probs) == len(whole.tokens)
    assert whole.score == pytest.approx(sum(whole.log_probs) / len(whole.log_probs), abs=1e-5)


@pytest.mark.parametrize("guard", [True, False])
def test_a_stream_comes_part_by_part(pipeline, document, monkeypatch, guard):
    calls = []
    encode = pipeline._model.encode
    monkeypatch.setattr(pipeline._model, "encode", lambda ids, mask: calls.append(len(ids)) or encode(ids, mask))
    pieces = pipeline.stream(document, **SPLIT, repetition_guard=guard)
    assert not calls
    first = next(pieces)
    assert calls == [1]
    rest = list(pieces)
    monkeypatch.undo()
    assert len(rest) > 20
    assert first + "".join(rest) == pipeline(document, **SPLIT, repetition_guard=guard)


def test_a_stream_of_a_text_that_fits(pipeline, lines):
    line = max(lines, key=len)
    assert "".join(pipeline.stream(line, **SPLIT)) == pipeline(line, num_beams=1, repetition_guard=True)
    assert len(list(pipeline.stream(line, **SPLIT, repetition_guard=False))) > 1
    assert list(pipeline.stream("", **SPLIT)) == []
    with pytest.raises(InputError, match="expected a text"):
        pipeline.stream(None, **SPLIT)


def test_should_stop_ends_a_split_text(pipeline, document):
    seen = []
    text = pipeline(document, **SPLIT, should_stop=lambda progress: seen.append(progress.inputs) or len(seen) == 3)
    assert len(seen) == 3
    assert set(seen[0]) == {0}  # all parts are of the first input
    assert len(text) < len(document)
    seen.clear()
    pieces = list(pipeline.stream(document, **SPLIT, should_stop=lambda progress: seen.append(progress.inputs) or len(seen) == 20))
    assert len(seen) == 20
    assert len(pieces) < 8


def test_summaries_of_chunks_are_joined(summarizer, document):
    ((whole,),) = summarizer.generate(document, **SPLIT)
    sources = [source for source, _ in whole.segments]
    tokens = len(summarizer._tokenizer.encode(document))
    assert len(sources) == math.ceil(tokens / 256)
    assert all(source in document for source in sources)
    assert all(100 < len(summarizer._tokenizer.encode(source)) <= 256 for source in sources)
    assert whole.text == "\n".join(part.text for _, part in whole.segments)
    alone = summarizer.generate(sources, num_beams=1, repetition_guard=True)
    assert [part.tokens for _, part in whole.segments] == [one.tokens for (one,) in alone]
    assert list(summarizer.stream(document, **SPLIT)) == [whole.text]


def test_summaries_longer_than_the_model_are_summarized_again(summarizer, lines):
    text = written(lines, 24_000)
    options = {**SPLIT, "max_new_tokens": 24}
    ((whole,),) = summarizer.generate(text, **options)

    def chunks(text: str) -> list[str]:
        return list(by_budget(text, Fit(lambda part: len(summarizer._tokenizer.encode(part)), 256), "en").sources)

    rounds = [text]
    while len(summarizer._tokenizer.encode(rounds[-1])) > 256:
        rounds.append("\n".join(summarizer(chunks(rounds[-1]), num_beams=1, max_new_tokens=24, repetition_guard=True)))
    assert len(rounds) > 2
    assert whole.text == rounds[-1]
    assert [source for source, _ in whole.segments] == chunks(rounds[-2])
    assert len(summarizer._tokenizer.encode(whole.text)) <= 256


def test_a_yes_in_the_first_round_of_summaries_ends_them_all(summarizer, lines):
    """What there is of them is joined, and not summarized again though it is longer than the model."""
    calls: list[Progress] = []
    options = {**SPLIT, "min_new_tokens": 23, "max_new_tokens": 24, "repetition_guard": False}
    text = written(lines, 24_000)
    count = len(summarizer._long_text(summarizer._settings(SPLIT, 1, scores=False)).pieces(text, False).spans)
    ((whole,),) = summarizer.generate(text, **options, should_stop=calls.append)
    begun = itertools.accumulate(len(progress.inputs) if progress.steps == 1 else 0 for progress in calls)
    last = next(at for at, chunks in enumerate(begun, 1) if chunks == count)  # the first step of the first round's last batch
    asked: list[Progress] = []
    ((stopped,),) = summarizer.generate(text, **options, should_stop=lambda progress: asked.append(progress) or len(asked) == last + 20)
    assert len(whole.segments) < count
    assert len(stopped.segments) == count
    assert len(asked) == last + 20
    assert len(summarizer._tokenizer.encode(stopped.text)) > 256


def test_summaries_that_get_no_shorter_end(summarizer, lines):
    """A model that says all it reads: nothing is gained by asking it again."""
    ((whole,),) = summarizer.generate(text := written(lines, 4000), **SPLIT, min_new_tokens=230, max_new_tokens=250)
    assert [source for source, _ in whole.segments] == list(
        by_budget(text, Fit(lambda part: len(summarizer._tokenizer.encode(part)), 256), "en").sources
    )
    assert len(summarizer._tokenizer.encode(whole.text)) > 256


def test_a_language_token_before_the_text_holds_for_all_of_it(pipeline, document, monkeypatch):
    """As for Marian models with several target languages."""
    monkeypatch.setattr(pipeline._tokenizer, "_languages", {"fra": ">>fra<<"})
    given = []
    encode = pipeline._tokenizer.encode
    monkeypatch.setattr(pipeline._tokenizer, "encode", lambda text, **languages: given.append(text) or encode(text, **languages))
    ((whole,),) = pipeline.generate(f">>fra<< {document}", **SPLIT)
    parts = [f">>fra<< {' '.join(source.split())}" for source, _ in whole.segments]
    assert len(parts) > 30
    assert given[-len(parts) :] == parts
    assert not any(">>" in source for source, _ in whole.segments)
    ((plain,),) = pipeline.generate(f">>deu<< {document}", **SPLIT)  # no language of this model: words as any
    assert ">>deu<<" in plain.segments[0].source


def test_a_model_without_a_limit_is_split_at_its_tokenizers(pipeline, document, monkeypatch):
    monkeypatch.setitem(pipeline.manifest.limits, "max_source_length", None)
    monkeypatch.setattr(pipeline._tokenizer, "max_length", None)
    assert len(pipeline._long_text(pipeline._settings(SPLIT, 1, scores=False)).encode(document)) > 512
    assert len(pipeline.generate(document, **SPLIT)[0][0].segments) > 20
    fits = document[:900]
    assert pipeline.generate(fits, **SPLIT)[0][0].segments == ()
    monkeypatch.setattr(pipeline._tokenizer, "max_length", 100)
    assert len(pipeline.generate(fits, **SPLIT)[0][0].segments) > 5


def test_sentences_end_as_the_source_language_has_it(pipeline, monkeypatch):
    text = "Das Treffen ist am 3. Mai in Berlin. " * 40
    assert pipeline.manifest.tokenizer["source_lang"] == "en"
    assert len(pipeline.generate(text, **SPLIT, max_new_tokens=100)[0][0].segments) == 80
    monkeypatch.setitem(pipeline.manifest.tokenizer, "source_lang", "de")
    assert len(pipeline.generate(text, **SPLIT, max_new_tokens=100)[0][0].segments) == 40


def _timed(pipeline, text: str) -> tuple[float, int, str]:
    """Processor seconds, bytes by which memory has grown, the translation."""
    process = psutil.Process()
    before, start = process.memory_info().rss, time.process_time()
    found = pipeline(text, **SPLIT)
    return time.process_time() - start, process.memory_info().rss - before, found


def _check_pages(pipeline, lines, pages: int) -> None:
    _timed(pipeline, written(lines, 20_000))
    half, _, _ = _timed(pipeline, written(lines, 1500 * pages))
    text = written(lines, 3000 * pages)
    whole, grown, found = _timed(pipeline, text)
    assert found.count("\n\n") == text.count("\n\n")
    assert whole < 3 * half + 1
    assert grown < 120e6
    assert len(found) > len(text) / 2


def test_ten_pages(pipeline, lines):
    _check_pages(pipeline, lines, 10)


@pytest.mark.sweep
def test_two_hundred_pages(pipeline, lines):
    """40 processor seconds on one thread, and 30 MB more memory than 25 pages take."""
    _check_pages(pipeline, lines, 200)
    text = written(lines, 600_000)
    start = time.process_time()
    pieces = by_sentence(text, Fit(lambda part: len(pipeline._tokenizer.encode(part)), 84), "en")
    assert time.process_time() - start < 10
    assert len(pieces.spans) > 9_000
