"""Speech in a benchmark: clips and their words, who can hear, and the figures of a row."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from zen_edge.benchmarks.contestants import Contestant, Failure, of_engines
from zen_edge.benchmarks.engines import SPEECH, Engine, engine
from zen_edge.benchmarks.inputs import batches
from zen_edge.benchmarks.measure import Measured, Setting, measure
from zen_edge.benchmarks.rows import case_rows
from zen_edge.benchmarks.speech import RATE, clips, joined, plain_word_error_rate, seconds
from zen_edge.benchmarks.terminal import cells, columns
from zen_edge.cli import app
from zen_edge.errors import InputError
from zen_edge.inputs import Line

WORDS = ("The cat sat.", "No dog!", "A bird flew over the old house.")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Clips of 1, 2 and 3 seconds."""
    for i, text in enumerate(WORDS):
        soundfile.write(tmp_path / f"{i}.wav", np.full((i + 1) * RATE, 0.1, np.float32), RATE)
        (tmp_path / f"{i}.txt").write_text(f"{text}\n")
    return tmp_path


def test_clips_are_read_with_their_words(folder: Path) -> None:
    (folder / "3.flac").write_bytes((folder / "0.wav").read_bytes())
    found = clips(folder)
    assert [Path(line.source).name for line in found] == ["0.wav", "1.wav", "2.wav", "3.flac"]
    assert [line.target for line in found] == [*WORDS, None]
    assert [seconds(line.source) for line in found[:3]] == [1, 2, 3]
    assert len(clips(folder, 2)) == 2


def test_folders_without_clips(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no sound files"):
        clips(tmp_path)
    with pytest.raises(InputError, match="is no folder: speech is measured on"):
        clips(tmp_path / "nowhere")


@pytest.mark.parametrize("length", [3.5, 5, 120])
def test_clips_are_joined_to_an_exact_length(folder: Path, tmp_path: Path, length: float) -> None:
    found = joined(clips(folder), length, 3, tmp_path / "out")
    spoken = dict(zip(WORDS, (1, 2, 3), strict=True))
    for line in found:
        assert seconds(line.source) == length
        sound, _ = soundfile.read(line.source)
        assert line.target is not None
        said = [text for sentence in line.target.replace("!", ".").split(".") if (text := next((w for w in WORDS if w[:-1] == sentence.strip()), ""))]
        assert (sound > 0.05).sum() == sum(map(spoken.__getitem__, said)) * RATE  # all of what is said, and nothing else
    assert len({line.target for line in found}) > 1 or length > 60
    assert clips(tmp_path / "out") == found
    with pytest.raises(InputError, match=r"no clip is as short as 0\.5 s"):
        joined(clips(folder), 0.5, 1, tmp_path / "none")


def test_the_word_error_rate() -> None:
    assert plain_word_error_rate(["the cat sat"], ["The cat, sat."]) == 0
    assert plain_word_error_rate(["the hat sat down"], ["The cat sat."]) == pytest.approx(200 / 3)
    assert plain_word_error_rate(["", "no dog"], ["the cat", "No dog!"]) == 50


def test_who_reads_does_not_hear(fake_engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    asked = [(engine("ctranslate2"), "int8"), (replace(fake_engine, speech=True), "good")]
    first, second = of_engines(asked, tmp_path, lambda step: None, SPEECH)
    assert isinstance(first, Failure)
    assert first.error.startswith("not for speech-recognition; there are: ")
    assert {"faster_whisper", "torch"} <= set(first.error.rpartition(": ")[2].rstrip(".").split(", "))
    assert isinstance(second, Contestant)
    (third,) = of_engines([(engine("faster_whisper"), "int8")], tmp_path, lambda step: None, "translation")
    assert isinstance(third, Failure)
    assert third.error.startswith("not for translation; there are: ctranslate2")


def test_what_is_heard_and_the_encoders_part(folder: Path, fake: Callable[[str], Contestant]) -> None:
    lines = clips(folder)
    some = batches([line.source for line in lines], 1)
    case, failures = measure([fake("good")], some, 1, Setting(1, 8, rounds=4), lambda step: None, SPEECH)
    assert failures == []
    (row,) = case_rows(case, 1, 1, lines, "fake good", "fake good", SPEECH, [1, 2, 3, 1])
    assert (row["encoder_ms"], row["encoder_ms_per_window"]) == (10, 5)
    assert 20 < row["latency_ms"]["median"] < 200
    assert row["quality"]["wer"] == pytest.approx(100 / 12, abs=0.01)  # a hat for a cat
    assert row["quality"]["lines"] == 3


def test_figures_of_speech(tmp_path: Path) -> None:
    contestant = Contestant("zen-edge int8", engine("zen_edge"), "int8", tmp_path, Path(sys.executable))
    lines = (Line("a", "the cat"), Line("b", "a dog"))
    said = {0: "the cat", 1: "a fog"}
    measured = Measured(contestant, 0.5, {}, 0.25, [0.5, 1.5, 0.5], [1] * 3, [10, 20, 10], said, 100, [0.3, 0.5, 0.3], [2, 5, 2])
    (row,) = case_rows([measured], 1, 1, lines, "zen-edge int8", "zen-edge int8", SPEECH, [5, 10, 5])
    assert (row["real_time_factor"], row["encoder_ms"], row["encoder_ms_per_window"], row["decoder_ms_per_token"]) == (0.1, 300, 150, 20)
    assert row["quality"]["wer"] == 25
    report = {"setting": {"task": SPEECH}, "cases": [row]}
    assert {"encoder ms", "of a window", "ms/token", "x real time", "WER %"} <= set(columns(report))
    assert len(cells(row)) == len(columns(report)) - 1
    measured.encoder_seconds.clear()  # an engine that does not tell
    (row,) = case_rows([measured], 1, 1, lines, "zen-edge int8", "zen-edge int8", SPEECH, [5, 10, 5])
    assert "encoder_ms" not in row
    assert len(cells(row)) == len(columns(report)) - 1


@pytest.mark.checkpoint
def test_whisper_beside_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zen_edge.exporters import export

    checkpoint = Path(os.environ["ZEN_EDGE_CHECKPOINTS"]) / "whisper-base"
    monkeypatch.setenv("ZEN_EDGE_CACHE", str(tmp_path / "cache"))
    clip = Path(__file__).parents[1] / "data" / "speech.flac"
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "0.flac").write_bytes(clip.read_bytes())
    (tmp_path / "clips" / "0.txt").write_text("There was nobody in the house, but all the lights were on.")
    bundle = export(checkpoint, tmp_path / "bundle", task=SPEECH).path
    options = ("--against", "torch,faster_whisper", "--model", checkpoint, "--inputs", tmp_path / "clips", "--rounds", 1, "--json")
    done = CliRunner().invoke(app, ["bench", str(bundle), *map(str, options)])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["cases"]
    assert [row["name"] for row in rows] == ["zen-edge fp32", "torch fp32", "faster-whisper int8"]
    for row in rows:
        assert row["quality"]["wer"] < 20
        assert 0 < row["encoder_ms"] == row["encoder_ms_per_window"] < row["latency_ms"]["median"]
