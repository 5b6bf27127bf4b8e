"""zen-edge run with documents longer than the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import zen_edge
from zen_edge.demo import shipped_lines


@pytest.fixture(scope="module")
def document(tmp_path_factory) -> Path:
    lines = [json.loads(line)["source"] for line in shipped_lines().read_text("utf-8").splitlines()]
    path = tmp_path_factory.mktemp("documents") / "document.txt"
    path.write_bytes(("\ufeff# Title\r\n\r\n" + "\r\n\r\n".join(lines + lines[:8]) + "\r\n").encode())
    return path


SPLIT = ("--overflow", "split", "--num-beams", 1)


def test_one_document_keeps_its_lines(process, demo_fp32, document):
    done = process("run", demo_fp32, "--file", document, *SPLIT)
    assert (done.returncode, done.stderr) == (0, b"")
    text = document.read_bytes().decode("utf-8-sig")
    with zen_edge.load(demo_fp32, threads=1) as pipeline:
        assert done.stdout.decode() == pipeline(text, overflow="split", num_beams=1)
    assert done.stdout.count(b"\r\n\r\n") == text.count("\r\n\r\n") > 30
    assert done.stdout.endswith(b"\r\n")


def test_documents_among_others_are_a_line_each(zen, demo_fp32, document):
    done = zen("run", demo_fp32, "simple game", "--file", document, "--file", document, *SPLIT)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert lines[0] == "jeu simple"
    assert lines[1] == lines[2] != ""


def test_json_has_the_parts(zen, demo_fp32, document):
    done = zen("run", demo_fp32, "--file", document, *SPLIT, "--json")
    (row,) = map(json.loads, done.stdout.splitlines())
    assert row.keys() == {"text", "tokens", "score", "segments"}
    assert all(part.keys() == {"source", "text", "tokens", "score"} for part in row["segments"])
    assert row["tokens"] == [token for part in row["segments"] for token in part["tokens"]]
    text = document.read_bytes().decode("utf-8-sig")
    for part in row["segments"]:
        before, text = text.split(part["source"], 1)
        assert not any(map(str.isalpha, before))
    (short,) = map(json.loads, zen("run", demo_fp32, "simple game", *SPLIT, "--json").stdout.splitlines())
    assert short.keys() == {"text", "tokens", "score"}


def test_a_loop_is_told(zen, demo_fp32, document):
    looping = ("--num-beams", 1, "--min-new-tokens", 100)
    one = zen("run", demo_fp32, "simple game", *looping, "--repetition-guard")
    assert one.stderr == "zen-edge: input 1: the output went round in circles and was decoded again with a repetition guard.\n"
    assert one.stdout.count("\n") == 1
    assert zen("run", demo_fp32, "simple game", *looping).stderr == ""
    row = json.loads(zen("run", demo_fp32, "simple game", *looping, "--repetition-guard", "--json").stdout)
    assert row["repetition_guard"] is True
    many = zen("run", demo_fp32, "--file", document, "--overflow", "split", *looping)
    assert "zen-edge: input 1: in " in many.stderr
    assert " parts the output went round in circles" in many.stderr
    off = zen("run", demo_fp32, "--file", document, "--overflow", "split", *looping, "--no-repetition-guard")
    assert (off.exit_code, off.stderr) == (0, "")
