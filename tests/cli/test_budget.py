"""zen-edge quantize --budget: a mixture that keeps what it promises on lines it was not chosen on, or none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zen_edge import quantizing, sensitivity
from zen_edge.manifest import read_manifest

LINES = Path(__file__).parents[1] / "data" / "descriptions.test.en-fr.jsonl"


@pytest.fixture
def few(tmp_path: Path) -> Path:
    path = tmp_path / "few.jsonl"
    path.write_text("".join(LINES.read_text("utf-8").splitlines(keepends=True)[:24]), "utf-8")
    return path


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--budget", "meteor=1"], 1, "the metrics are chrf, bleu, rouge, wer, f1, exact-match, tokens, cosine."),
        (["--budget", "rouge=1"], 1, "rouge is not measured for translation; there are: chrf, bleu, tokens, cosine."),
        (["--budget", "wer=1"], 1, "wer is not measured for translation"),
        (["--budget", "chrf=1", "--plot", "x.gif"], 1, "--plot takes a file"),
        (["--budget", "chrf=1", "--precision", "int8"], 2, "finds the precisions itself"),
        (["--fastest"], 2, "go with --budget"),
    ],
    ids=str,
)
def test_what_is_refused(zen, demo_fp32, few, tmp_path, arguments, status, message):
    given = [] if arguments == ["--fastest"] else ["--inputs", few]
    done = zen("quantize", demo_fp32, tmp_path / "out", *arguments, *given)
    assert (done.exit_code, done.stdout) == (status, "")
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["few.jsonl"]


def test_too_few_lines(zen, demo_fp32, few, tmp_path):
    few.write_text("".join(few.read_text("utf-8").splitlines(keepends=True)[:9]), "utf-8")
    assert (
        "measured on 16 lines or more with a target, and few.jsonl has 9"
        in zen("quantize", demo_fp32, tmp_path / "out", "--budget", "bleu=1", "--inputs", few).stderr
    )


@pytest.mark.sweep
def test_a_mixture_within_the_budget(zen, demo_fp32, few, tmp_path, monkeypatch):
    """Smaller than int8, and the words that fp32 says on the lines held out. Interrupted on the way, it goes on where it was."""
    made = []
    write = quantizing.write

    def interrupted(bundle, folder, recipe, tell):
        made.append(recipe)
        if len(made) == 12:
            raise KeyboardInterrupt
        return write(bundle, folder, recipe, tell)

    monkeypatch.setattr(quantizing, "write", interrupted)
    arguments = ("quantize", demo_fp32, tmp_path / "out", "--budget", "tokens=0.95", "--inputs", few, "--plot", tmp_path / "plot.png")
    assert zen(*arguments).exit_code == 130
    kept = tmp_path / ".out.search.json"
    assert len(json.loads(kept.read_text())["found"]) >= 11
    done = zen(*arguments)
    assert done.exit_code == 0, done.stderr
    assert len({str(recipe) for recipe in made}) <= len(made) <= len({str(recipe) for recipe in made}) + 40  # losses are measured apart from costs
    assert not kept.exists()
    manifest = read_manifest(tmp_path / "out", hashes=True)
    assert len(set(manifest.recipe.values())) > 1
    assert (tmp_path / "out" / "weights.bin").stat().st_size < 0.26 * (demo_fp32 / "weights.bin").stat().st_size
    assert "chosen: recipe" in done.stdout
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.sweep
def test_a_budget_that_cannot_be_met(zen, demo_fp32, few, tmp_path, monkeypatch):
    """Nothing is kept but what was measured; the best that was found is told."""
    monkeypatch.setattr(
        sensitivity.Measure, "loss", lambda self, recipe, half: self._measured(recipe, f"loss {half}", lambda folder: {"loss": 5.0})["loss"]
    )
    done = zen("quantize", demo_fp32, tmp_path / "out", "--budget", "chrf=0.1", "--inputs", few)
    assert done.exit_code == 3
    assert "the best found loses 5 at" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()
