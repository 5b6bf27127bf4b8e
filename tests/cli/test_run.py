"""zen-edge run: arguments, stdin, files, JSON, bad lines, options."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import zen_edge

LINES = b"\xef\xbb\xbfsimple game\r\n\ntool\xff\n  \nlibrary for sound"
ANSWERS = ["jeu simple", "", "", "", "bibliothèque pour son"]


def test_arguments(zen, demo_fp32):
    done = zen("run", demo_fp32, "simple game", "library for sound", "")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "jeu simple\nbibliothèque pour son\n\n", "")


def test_stdin_with_everything_that_may_be_wrong_in_it(process, demo_fp32):
    done = process("run", demo_fp32, input=LINES)
    assert done.returncode == 1
    assert done.stdout.decode().split("\n") == [*ANSWERS, ""]
    assert done.stderr.decode() == "zen-edge: input 3: the line is not UTF-8 text: invalid start byte at byte 4.\n"


def test_stdin_as_json(process, demo_fp32):
    done = process("run", demo_fp32, "--json", "--num-beams", 1, input=LINES)
    assert done.returncode == 1
    assert done.stderr == b""
    rows = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert [row.get("text", "") for row in rows] == ANSWERS
    assert rows[2].keys() == {"error"}
    assert all(row.keys() == {"text", "tokens", "score"} for i, row in enumerate(rows) if i != 2)
    with zen_edge.load(demo_fp32) as pipeline:
        best = pipeline.generate("simple game", num_beams=1)[0][0]
    assert rows[0] == {"text": best.text, "tokens": list(best.tokens), "score": pytest.approx(best.score, abs=1e-6)}


def test_empty_stdin(process, demo_fp32):
    done = process("run", demo_fp32)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_one_line_too_long_among_many(zen, demo_fp32):
    done = zen("run", demo_fp32, "simple game", "tool " * 300, "library for sound")
    assert done.exit_code == 1
    assert done.stdout == "jeu simple\n\nbibliothèque pour son\n"
    assert done.stderr.startswith("zen-edge: input 2: the text has ")
    assert done.stderr.count("\n") == 1
    cut = zen("run", demo_fp32, "tool " * 300, "--overflow", "truncate", "--max-new-tokens", 5)
    assert cut.exit_code == 0
    assert len(cut.stdout.strip()) > 3


def test_files(zen, demo_fp32, tmp_path: Path):
    (tmp_path / "game.txt").write_bytes(b"\xef\xbb\xbfsimple game\r\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe")
    names = ("game.txt", "missing.txt", "bytes.txt", ".")
    done = zen("run", demo_fp32, "library for sound", *(part for name in names for part in ("--file", tmp_path / name)), "--json")
    assert done.exit_code == 1
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row.get("text") for row in rows] == ["bibliothèque pour son", "jeu simple", None, None, None]
    assert "No such file" in rows[2]["error"]
    assert "not UTF-8" in rows[3]["error"]
    assert "Is a directory" in rows[4]["error"]
    assert "Traceback" not in done.output


def test_several_results(zen, demo_fp32):
    done = zen("run", demo_fp32, "simple game", "--num-return-sequences", 3)
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 3
    asked = ("run", demo_fp32, "simple game", "tool", "--option", "num_return_sequences=2")
    refused = zen(*asked)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "add --json" in refused.stderr
    rows = [json.loads(line) for line in zen(*asked, "--json").stdout.splitlines()]
    assert [len(row["hypotheses"]) for row in rows] == [2, 2]
    assert rows[0]["hypotheses"][0] == {key: rows[0][key] for key in ("text", "tokens", "score")}


def test_every_option_reaches_the_search(zen, demo_fp32):
    options = {
        "num_beams": 3,
        "max_new_tokens": 9,
        "min_new_tokens": 3,
        "length_penalty": 0.5,
        "early_stopping": "never",
        "no_repeat_ngram_size": 2,
        "repetition_penalty": 1.2,
        "bad_words_ids": [[8000], [199]],
        "suppress_tokens": [116],
        "forced_eos_token_id": 0,
        "begin_suppress_tokens": [5],
    }
    flags = [
        part
        for name, value in options.items()
        for part in (
            ("--option", f"{name}={json.dumps(value)}")
            if name == "begin_suppress_tokens"
            else ("--" + name.replace("_", "-"), value if isinstance(value, str | int | float) else json.dumps(value))
        )
    ]
    row = json.loads(zen("run", demo_fp32, "simple game with cards", "--json", *flags).stdout)
    with zen_edge.load(demo_fp32) as pipeline:
        best = pipeline.generate("simple game with cards", **options)[0][0]
        assert best.tokens != pipeline.generate("simple game with cards")[0][0].tokens
    assert row == {"text": best.text, "tokens": list(best.tokens), "score": pytest.approx(best.score, abs=1e-6)}


def test_sampling_and_a_prefix_reach_the_search(zen, demo_fp32):
    options = {"do_sample": True, "num_beams": 1, "temperature": 1.4, "top_k": 20, "top_p": 0.9, "seed": 5, "decoder_prefix": "un jeu"}
    flags = [part for name, value in options.items() if name != "do_sample" for part in ("--" + name.replace("_", "-"), value)]
    row = json.loads(zen("run", demo_fp32, "simple game with cards", "--json", "--do-sample", *flags, "--token-log-probs").stdout)
    with zen_edge.load(demo_fp32) as pipeline:
        best = pipeline.generate("simple game with cards", token_log_probs=True, **options)[0][0]
    assert row.keys() == {"text", "tokens", "score", "log_probs"}
    assert (row["text"], row["tokens"]) == (best.text, list(best.tokens))
    assert row["log_probs"] == pytest.approx(best.log_probs, abs=1e-5)
    assert best.text.startswith("un jeu")
    again = [zen("run", demo_fp32, "simple game with cards", "--do-sample", *flags).stdout for _ in range(2)]
    assert again == [f"{best.text}\n"] * 2
    assert zen("run", demo_fp32, "simple game", "--no-do-sample").stdout == "jeu simple\n"


def test_a_prefix_as_ids_serves_all_inputs(zen, demo_fp32):
    asked = ("run", demo_fp32, "simple game", "library for sound", "tool")
    done = zen(*asked, "--option", "decoder_prefix=[30, 199]")
    assert done.stdout == zen(*asked, "--decoder-prefix", "un jeu").stdout
    assert [line.startswith("un jeu") for line in done.stdout.splitlines()] == [True] * 3
    assert zen(*asked, "--decoder-prefix", "2024").stdout.startswith("2024")


WRONG = [
    (["--token-log-probs"], 1, "printed with --json only"),
    (["--option", 'decoder_prefix=["un"]'], 1, "one for all inputs here"),
    (["--option", "decoder_prefix=2024"], 1, "decoder_prefix must be a text"),
    (["--option", "should_stop=1"], 1, "should_stop must be a function"),
    (["--top-p", "0.5"], 1, "top_p=0.5 is not supported without sampling"),
    (["--do-sample", "--temperature", "0"], 1, "temperature must be"),
    (["--seed", "-1"], 1, "seed must be a whole number"),
    (["--num-beams", "10000"], 1, "num_beams is 10000, and the most is 256"),
    (["--option", "target_long=fr"], 1, "did you mean target_lang?"),
    (["--option", "src_lang=en"], 1, "no generation option src_lang; source_lang is that"),
    (["--option", "foo=1"], 1, "There is no generation option foo"),
    (["--option", "foo"], 1, "--option takes NAME=VALUE"),
    (["--option", "num_beams=2", "--num-beams", "3"], 1, "num_beams is given twice"),
    (["--option", "overflow=truncate", "--overflow", "error"], 1, "overflow is given twice"),
    (["--option", "overflow=cut"], 1, "overflow='cut' is not known"),
    (["--option", "num_beams=two"], 1, "num_beams must be a whole number"),
    (["--option", "penalty_alpha=0.6"], 1, "penalty_alpha=0.6 is not supported"),
    (["--num-beams", "0"], 1, "num_beams must be a whole number"),
    (["--early-stopping", "maybe"], 1, "early_stopping must be"),
    (["--bad-words-ids", "[[1"], 1, "--bad-words-ids takes JSON"),
    (["--target-lang", "fr"], 1, "one target language only"),
    (["--source-lang", "en"], 1, "source_lang"),
    (["--max-new-tokens", "600", "--option", "eos_token_id=7999"], 1, "the output reached 256 tokens"),
    (["--memory", "ram"], 1, "memory 'ram' is not known; there are: auto, mapped, packed"),
    (["--device", "tpu"], 1, "device 'tpu' is not known"),
    (["--threads", "0"], 2, "--threads"),
    (["--num-beams", "two"], 2, "--num-beams"),
    (["--nonsense"], 2, "--nonsense"),
]


@pytest.mark.parametrize(("flags", "status", "message"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_wrong_options(zen, demo_fp32, flags, status, message):
    done = zen("run", demo_fp32, "simple game", *flags)
    assert done.exit_code == status
    assert done.stdout == ("\n" if "the output reached" in message else "")
    assert message in done.stderr
    if status == 1:
        assert done.stderr.startswith("zen-edge: ")
        assert done.stderr.count("\n") == 1


def test_no_bundle(zen, tmp_path: Path):
    for folder in (tmp_path, tmp_path / "missing"):
        done = zen("run", folder, "simple game")
        assert (done.exit_code, done.stdout) == (3, "")
        assert "zen-edge export" in done.stderr
        assert done.stderr.count("\n") == 1


def test_verify(zen, demo_fp32, tmp_path: Path):
    assert zen("run", demo_fp32, "simple game", "--verify", "--memory", "mapped").stdout == "jeu simple\n"
    bundle = tmp_path / "bundle"
    shutil.copytree(demo_fp32, bundle)
    data = bytearray((bundle / "weights.bin").read_bytes())
    data[5_000_000] ^= 1
    (bundle / "weights.bin").write_bytes(data)
    done = zen("run", bundle, "simple game", "--verify")
    assert done.exit_code == 3
    assert "sha256" in done.stderr
