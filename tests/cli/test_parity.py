"""zen-edge parity: its JSON, its reports, what is kept in the bundle, and the inputs it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import zen_edge


@pytest.fixture
def bundle(demo_fp32, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo_fp32, tmp_path / "bundle"))


def test_json_report_and_manifest(zen, bundle, demo_checkpoint, tmp_path: Path):
    pairs = [("simple game", "jeu simple"), ("", "rien"), ("tool for reading text files", None), ("simple game", "jeu simple"), ("tool", " ")]
    inputs = tmp_path / "pairs.jsonl"
    inputs.write_text("\n".join(json.dumps({"source": source, "target": target}) for source, target in pairs), encoding="utf-8")
    done = zen("parity", bundle, demo_checkpoint, "--inputs", inputs, "--report", tmp_path / "report.html", "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert {"passed", "outputs", "tokens", "text", "tolerance"} <= report.keys()
    assert report["passed"] is True
    assert all(row.keys() == {"name", "max_abs", "max_rel", "cosine"} for row in report["outputs"])
    names = {row["name"].split(".")[0] for row in report["outputs"]}
    assert names == {"encoder", "decoder", "reorder"}
    assert report["tokens"] == {"total": 16, "identical": 16, "first_divergence": None}  # four lines, four ways
    assert report["text"].keys() == {"chrF", "BLEU"}
    assert all(score.keys() == {"reference", "bundle"} for score in report["text"].values())
    assert (report["about"]["lines"], report["about"]["lines_with_target"]) == (4, 2)  # only the lines with a target are scored
    assert report["text"]["chrF"]["bundle"] == pytest.approx(100)

    page = (tmp_path / "report.html").read_text("utf-8")
    assert "Parity holds" in page
    assert json.loads((bundle / "zen-edge.json").read_text())["parity"] == report
    assert zen("run", bundle, "simple game", "--verify").stdout == "jeu simple\n"
    assert sorted(path.name for path in bundle.iterdir()) == sorted([*json.loads((bundle / "zen-edge.json").read_text())["files"], "zen-edge.json"])


def test_json_report_on_a_list_of_lines(bundle, demo_checkpoint, tmp_path: Path):
    found = zen_edge.parity(bundle, demo_checkpoint, inputs=["tool", " ", "tool"], limit=1)
    assert found.passed
    assert found.tokens.total == 4
    assert not found.text
    for wrong in ([], [" "], ["tool", 3], "tool", 5):
        with pytest.raises(zen_edge.InputError):
            zen_edge.parity(bundle, demo_checkpoint, inputs=wrong)
    for limit in (0, -1, 1.5, True):
        with pytest.raises(zen_edge.OptionError):
            zen_edge.parity(bundle, demo_checkpoint, limit=limit)


def test_other_weights(zen, demo_fp32, demo_checkpoint, tmp_path: Path):
    other = Path(shutil.copytree(demo_checkpoint, tmp_path / "other"))
    data = bytearray((other / "model.safetensors").read_bytes())
    data[-2] ^= 1
    (other / "model.safetensors").write_bytes(data)
    done = zen("parity", demo_fp32, other, "--json")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr.splitlines()[-1].startswith("zen-edge: the bundle was made from other weights (marian-en-fr) than ")
    with pytest.raises(zen_edge.CheckFailedError, match="other weights"):
        zen_edge.parity(demo_fp32, other)


INPUTS = [
    ("empty.txt", b"", "holds no lines"),
    ("blank.txt", b"\n \r\n\t\n", "holds no lines"),
    ("pairs.csv", b"source,target\na,b\n", "should be a .txt file (a line each) or a .jsonl file"),
    ("bytes.txt", b"tool\n\xff\n", "not UTF-8 text"),
    ("blank.jsonl", b'{"source": " ", "target": "rien"}\n', "holds no lines"),
    ("target.jsonl", b'\n{"target": "rien"}\n', "line 2, should be an object"),
    ("number.jsonl", b'{"source": "a", "target": 3}\n', "line 1, should be an object"),
    ("list.jsonl", b"[1]\n", "line 1, should be an object"),
    ("broken.jsonl", b'{"source": "a"}\n{"source"\n', "line 2, is not JSON"),
    ("deep.jsonl", b"[" * 100_000 + b"\n", "line 1, is not JSON"),
    ("half.jsonl", b'{"source": "tool \\ud83d"}\n', "lone surrogate"),
    ("long.txt", b"tool\n" + b"tool " * 400 + b"\n", "tokens, the model takes 256"),
]


@pytest.mark.parametrize(("name", "data", "message"), INPUTS, ids=[name for name, *_ in INPUTS])
def test_inputs_that_cannot_be_compared_on(zen, demo_fp32, demo_checkpoint, tmp_path: Path, name, data, message):
    (tmp_path / name).write_bytes(data)
    done = zen("parity", demo_fp32, demo_checkpoint, "--inputs", tmp_path / name)
    assert (done.exit_code, done.stdout) == (1, "")
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_wrong_options(zen, demo_fp32, demo_checkpoint, tmp_path: Path):
    for flags, status, message in (
        (("--limit", 0), 2, "--limit"),
        (("--report", tmp_path / "report.pdf"), 1, ".html or .json"),
        (("--report", tmp_path / "missing" / "report.html"), 1, "its folder does not exist"),
        (("--inputs", tmp_path / "missing.txt"), 1, "No such file"),
    ):
        done = zen("parity", demo_fp32, demo_checkpoint, *flags)
        assert (done.exit_code, done.stdout) == (status, "")
        assert message in done.stderr
    assert zen("parity", tmp_path, demo_checkpoint).exit_code == 3
    assert zen("parity", demo_fp32, tmp_path).exit_code == 1


def test_a_bundle_that_cannot_be_written_is_compared_all_the_same(zen, bundle, demo_checkpoint, tmp_path: Path, monkeypatch):
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("zen_edge.check.write_manifest", refused)
    (tmp_path / "line.txt").write_text("tool")
    done = zen("parity", bundle, demo_checkpoint, "--inputs", tmp_path / "line.txt")
    assert done.exit_code == 0
    assert "parity holds" in done.stdout
    assert "the report was not kept in the bundle (Permission denied)" in done.stderr
