"""Frames to text as transformers' tokenizers do it, and sound cut into chunks."""

import itertools
import json

import numpy as np
import pytest
from transformers import AutoTokenizer, Wav2Vec2CTCTokenizer

from zen_edge.benchmarks.tiny_speech import write_piece_tokenizer, write_tokenizer
from zen_edge.errors import BundleError, UnsupportedModelError
from zen_edge.exporters.tokenization import save_tokenizer
from zen_edge.runtimes.ctc.chunks import Cutting
from zen_edge.runtimes.tokenization import load_tokenizer

SETTINGS = {
    "plain": {},
    "lower": {"do_lower_case": True},
    "another delimiter": {"word_delimiter_token": "E", "replace_word_delimiter_char": " "},
    "no space": {"replace_word_delimiter_char": "_"},
    "clean": {"clean_up_tokenization_spaces": True},
}


def frames(words, count=60, seed=0):
    random = np.random.default_rng(seed)
    return np.repeat(random.integers(0, words, count), random.integers(1, 4, count)).tolist()


@pytest.mark.parametrize("name", SETTINGS)
def test_characters_as_transformers(name, tmp_path):
    words = write_tokenizer(tmp_path)
    theirs = Wav2Vec2CTCTokenizer.from_pretrained(tmp_path, **SETTINGS[name])
    ours = load_tokenizer(tmp_path / "bundle", save_tokenizer(theirs, tmp_path / "bundle"))
    for seed in range(30):
        ids = frames(words + 2, seed=seed)  # two that no word has
        expected = theirs.decode(ids, output_word_offsets=True)
        text, spans = ours.told(ids)
        assert text == expected.text
        assert [(span.text, span.start, span.end) for span in spans] == [
            (w["word"], w["start_offset"], w["end_offset"]) for w in expected.word_offsets
        ]
    assert ours.told([]) == ("", [])
    assert ours.told([ours.blank_id] * 5) == ("", [])


def test_a_vocabulary_of_a_language(tmp_path):
    """As MMS has one for each."""
    (tmp_path / "vocab.json").write_text(json.dumps({"fra": {"<pad>": 0, "</s>": 1, "<unk>": 2, "|": 3, "é": 4}, "deu": {"<pad>": 0, "ß": 1}}))
    theirs = Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"), target_lang="fra")
    ours = load_tokenizer(tmp_path / "bundle", save_tokenizer(theirs, tmp_path / "bundle"))
    assert ours.told([4, 4, 0, 4, 3, 4])[0] == theirs.decode([4, 4, 0, 4, 3, 4]) == "éé é"


def test_a_vocabulary_of_no_language_is_refused(tmp_path):
    (tmp_path / "vocab.json").write_text(json.dumps({"<pad>": {"a": 0}, "deu": {"<pad>": 0, "ß": 1}}))
    with pytest.raises((UnsupportedModelError, TypeError)):
        save_tokenizer(Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json")), tmp_path / "bundle")


def test_pieces_as_transformers(tmp_path):
    words = write_piece_tokenizer(tmp_path, "ParakeetTokenizer")
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    ours = load_tokenizer(tmp_path / "bundle", save_tokenizer(theirs, tmp_path / "bundle"))
    for seed in range(30):
        ids = frames(words, seed=seed)
        text, spans = ours.told(ids)
        assert text == theirs.decode(ids)
        assert " ".join(span.text for span in spans).split() == text.split()
        assert all(one.end <= other.start for one, other in itertools.pairwise(spans))


def test_settings_that_lack_something_are_said(tmp_path):
    write_tokenizer(tmp_path)
    with pytest.raises(BundleError, match="pad_token"):
        load_tokenizer(tmp_path, {"kind": "wav2vec2_ctc"})


@pytest.mark.parametrize("total", [1, 319, 32000, 32001, 100000, 99840])
@pytest.mark.parametrize("block", [997, 16000, 200000])
@pytest.mark.parametrize("strides", [(0.0, 0.0), (0.5, 0.5), (0.8, 0.2)])
def test_the_middles_of_chunks_are_the_whole(total, block, strides):
    audio = np.arange(total, dtype=np.float32)
    cutting = Cutting.of(2.0, strides, 16000, 320)
    chunks = list(cutting.chunks(audio[i : i + block] for i in range(0, total, block)))
    kept = [chunk.audio[chunk.left : len(chunk.audio) - chunk.right] for chunk in chunks]
    assert np.array_equal(np.concatenate(kept), audio)
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert all(len(chunk.audio) == 32000 for chunk in chunks[:-1])
    assert all(chunk.left % 320 == chunk.right % 320 == 0 for chunk in chunks)
