"""Speech on the command line: transcripts, subtitles, JSON, recordings that cannot be read."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from zen_edge.cli import app
from zen_edge.runtimes.audio import read_audio
from zen_edge.runtimes.speech.subtitles import FORMATS
from zen_edge.runtimes.speech.transcript import Segment, Transcript, Word

from .conftest import RATE


def zen(*arguments: object, input: str | bytes | None = None):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=input)


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory, sounds) -> Path:
    path = tmp_path_factory.mktemp("speech") / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((sounds(1.5, 1) * 32767).astype("<i2").tobytes())
    return path


def test_one_transcript_a_line(bundle, pipeline, wav, tmp_path):
    text = " ".join(pipeline(wav, language="fr", task="transcribe").split())
    done = zen("run", bundle, wav, tmp_path / "none.wav", wav, "--language", "fr")
    assert (done.exit_code, done.stdout) == (1, f"{text}\n\n{text}\n")
    assert done.stderr == f"zen-edge: input 2: there is no file {tmp_path / 'none.wav'}.\n"
    assert zen("run", bundle, "--file", wav, "--language", "fr").stdout == f"{text}\n"
    assert zen("run", bundle, "--language", "fr", input=f"{wav}\n").stdout == f"{text}\n"


def test_json_and_translation(bundle, pipeline, wav):
    done = zen("run", bundle, wav, "--translate", "--json", "--timestamps", "word")
    best = pipeline.generate(wav, task="translate", words=True)[0][0]
    assert done.exit_code == 0
    assert json.loads(done.stdout) == json.loads(json.dumps(best.to_json()))
    assert zen("run", bundle, wav, "--translate", "--format", "json", "--timestamps", "word").stdout == done.stdout


def test_subtitles(bundle, wav):
    srt, vtt = (zen("run", bundle, wav, "--language", "en", "--format", format) for format in ("srt", "vtt"))
    assert srt.exit_code == vtt.exit_code == 0
    assert srt.stdout.startswith("1\n00:00:0") and vtt.stdout.startswith("WEBVTT\n\n00:00:0")
    assert zen("run", bundle, wav, "--timestamps", "segment").stdout.startswith("[")
    several = zen("run", bundle, wav, wav, "--format", "srt")
    assert several.exit_code == 1 and "cannot be told apart" in several.stderr
    assert zen("run", bundle, wav, "--format", "doc").exit_code == 2


def test_sound_from_a_pipe(bundle, pipeline):
    clip = (read_audio(Path(__file__).parents[1] / "data" / "speech.flac", None, RATE) * 32767).astype("<i2")
    sound = np.concatenate([clip, np.zeros(RATE, "<i2"), clip])
    options = {"language": "fr", "sampling_rate": RATE, "max_new_tokens": 8, "window": "full"}
    words = ("--language", "fr", "--max-new-tokens", 8, "--window", "full", "--stream", RATE)
    said = [" ".join(one.text.split()) for one in pipeline.stream([sound], **options)]
    done = zen("run", bundle, *words, input=sound.tobytes() + b"\0")
    assert (done.exit_code, done.stdout.splitlines(), len(said)) == (0, said, 2)
    timed = zen("run", bundle, *words, "--timestamps", "segment", input=sound.tobytes()).stdout.splitlines()
    assert timed and all(line.startswith("[") for line in timed)
    rows = [json.loads(line) for line in zen("run", bundle, *words, "--json", input=sound.tobytes()).stdout.splitlines()]
    assert [" ".join(row["text"].split()) for row in rows] == said
    assert zen("run", bundle, "--stream", RATE, input=b"").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--stream", 16000, "--format", "srt"), "line by line, not srt"),
        (("a.wav", "--stream", 16000), "without inputs"),
        (("--stream", 0), "sampling_rate is 0"),
        (("--stream", 16000, "--batched"), "batched is for recordings"),
    ],
    ids=str,
)
def test_what_a_pipe_cannot_be_asked(bundle, arguments, says):
    done = zen("run", bundle, *arguments, input=b"")
    assert done.exit_code == 1 and says in done.stderr and done.stderr.count("\n") == 1


def test_formats():
    words = (Word(" a", 0.0, 0.5, 0.9), Word(" <b>", 0.5, 3661.25, 0.8))
    segment = Segment(0.0, 3661.25, " a <b>", (1, 2), -0.1, 0.0)
    found = Transcript(" a <b>", (1, 2), -0.1, None, "en", (segment,))
    assert FORMATS["srt"](found) == "1\n00:00:00,000 --> 01:01:01,250\na <b>\n"
    assert FORMATS["vtt"](found) == "WEBVTT\n\n00:00:00.000 --> 01:01:01.250\na &lt;b&gt;\n"
    assert FORMATS["txt"](found) == "a <b>\n"
    timed = Transcript(" a <b>", (1, 2), np.nan, None, "en", (Segment(0.0, 3661.25, " a <b>", (1, 2), -0.1, 0.0, 0.0, words),))
    assert FORMATS["srt"](timed).count("-->") == 2
    assert json.loads(FORMATS["json"](timed))["score"] is None
