"""zen-edge quantize --budget: a mixture that keeps what it promises on lines it was not chosen on, or none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import zen_edge
from zen_edge import check_quantized, quantizing, sensitivity
from zen_edge.check_tensors import open_graph
from zen_edge.demo import SUMMARIZER
from zen_edge.held import hold, let_go, work_name
from zen_edge.inputs import read_lines
from zen_edge.manifest import read_manifest
from zen_edge.probed import Probed
from zen_edge.recipe import Recipe
from zen_edge.text_scores import scores

LINES = Path(__file__).parents[1] / "data" / "descriptions.test.en-fr.jsonl"
SUMMARIES = SUMMARIZER.folder.parent / SUMMARIZER.lines


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """Times are measured, and what they are is of no matter here."""
    monkeypatch.setattr(sensitivity, "TIMED", 1)
    monkeypatch.setattr(sensitivity, "ROUNDS", 3)


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


@pytest.mark.parametrize("budget", ["chrf=1", "tokens=0.9", "cosine=0.9"])
@pytest.mark.parametrize(("counts", "told"), [([1] * 15 + [400, 300], "2 of 17 lines"), ([1] * 15 + [400], "1 of 16 lines")], ids=str)
def test_a_line_longer_than_the_model_is_told_before_anything_else_is_measured(zen, demo_fp32, few, tmp_path, budget, counts, told):
    few.write_text("".join(json.dumps({"source": "game " * count, "target": "jeu"}) + "\n" for count in counts), "utf-8")
    done = zen("quantize", demo_fp32, tmp_path / "out", "--budget", budget, "--inputs", few)
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"{told} cannot be measured, leave them out: 'game game" in done.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["few.jsonl"]


def test_a_second_search_for_the_same_bundle_waits(zen, demo_fp32, few, tmp_path):
    part = tmp_path / work_name("out", "search")
    part.mkdir()
    held = hold(part)
    try:
        done = zen("quantize", demo_fp32, tmp_path / "out", "--budget", "tokens=0.9", "--inputs", few)
    finally:
        let_go(held)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].endswith(": wait for its end, or choose another OUT.")
    assert sorted(path.name for path in tmp_path.iterdir()) == [part.name, "few.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--budget", "chrf=1", "--fastest"), "leave --fastest out"), (("--precision", "int8"), "no CUDA kernels for that: choose fp16")],
    ids=str,
)
def test_what_is_refused_of_a_bundle_for_cuda(zen, demo_fp32, few, tmp_path, arguments, message):
    bundle = shutil.copytree(demo_fp32, tmp_path / "bundle")
    manifest = json.loads((bundle / "zen-edge.json").read_text())
    (bundle / "zen-edge.json").write_text(json.dumps(manifest | {"device": "cuda"}))
    done = zen("quantize", bundle, tmp_path / "out", *arguments, *(("--inputs", few) if "--budget" in arguments else ()))
    assert (done.exit_code, done.stdout) == (1, "")
    assert message in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.sweep
def test_a_mixture_within_the_budget(zen, demo_fp32, few, tmp_path, monkeypatch):
    """Smaller than int8, and the words that fp32 says on the lines held out. Interrupted on the way, it goes on where it was."""
    made = []
    write = quantizing.write

    def interrupted(bundle, folder, recipe, tell, largest):
        made.append(recipe)
        if len(made) == 12:
            raise KeyboardInterrupt
        return write(bundle, folder, recipe, tell, largest)

    monkeypatch.setattr(quantizing, "write", interrupted)
    arguments = ("quantize", demo_fp32, tmp_path / "out", "--budget", "tokens=0.95", "--inputs", few, "--plot", tmp_path / "plot.png")
    assert zen(*arguments).exit_code == 130
    kept = tmp_path / ".out.search.json"
    assert len(json.loads(kept.read_text())["found"]) >= 11
    (tmp_path / work_name("out", "search") / "bundle").mkdir(parents=True)  # as a search leaves it that is killed
    (tmp_path / work_name("out", "search") / "bundle" / "weights.bin").write_bytes(b"half")
    done = zen(*arguments)
    assert done.exit_code == 0, done.stderr
    assert len(made) <= len({str(recipe) for recipe in made}) + 12  # a recipe is made once, and those that the lines held out are asked about again
    assert sorted(path.name for path in tmp_path.iterdir()) == ["few.jsonl", "out", "plot.png"]
    manifest = read_manifest(tmp_path / "out", hashes=True)
    assert len(set(manifest.recipe.values())) > 1
    assert (tmp_path / "out" / "weights.bin").stat().st_size < 0.26 * (demo_fp32 / "weights.bin").stat().st_size
    assert "chosen: recipe" in done.stdout
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.sweep
def test_a_budget_that_cannot_be_met(zen, demo_fp32, few, tmp_path, monkeypatch):
    """Nothing is kept but what was measured; the best that was found is told."""
    monkeypatch.setattr(
        sensitivity.Measure, "loss", lambda self, recipe, half: self._measured(recipe, f"loss {half}", lambda folder: {"loss": 5.0 * half})["loss"]
    )
    done = zen("quantize", demo_fp32, tmp_path / "out", "--budget", "chrf=0.1", "--inputs", few)
    assert done.exit_code == 3
    assert "the best found loses 5, with " in done.stderr.splitlines()[-1]  # on the lines held out; on the others it was within the budget
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.search.json", "few.jsonl"]


@pytest.mark.sweep
def test_an_encoder_that_is_fp32s_is_not_run_again(demo_fp32, few, tmp_path, monkeypatch):
    """The likeness of a bundle with another decoder alone is told without its encoder, and is the same to the last bit."""
    recipe = Recipe.uniform("fp32").changed("feed-forward.1", "int4").changed("self-attention", "int8")
    (made := tmp_path / "made").mkdir()
    quantizing.write(demo_fp32, made, recipe, lambda step: None)
    sources = [line.source for line in read_lines(few)]
    layers = quantizing._layers(demo_fp32)
    whole = Probed(demo_fp32, False, {"encoder": {("feed-forward", 1)}}, lambda half: sources).some(made, recipe)
    opened = []
    monkeypatch.setattr(
        check_quantized, "open_graph", lambda folder, manifest, name: opened.append((folder, name)) or open_graph(folder, manifest, name)
    )
    assert Probed(demo_fp32, False, layers, lambda half: sources).some(made, recipe) == whole
    assert [name for folder, name in opened if folder == made] == ["decoder"]
    assert whole.cosine < 1 - 1e-6


@pytest.mark.sweep
def test_a_summarizer_within_a_budget_of_rouge(zen, tmp_path):
    bundle = zen_edge.export(SUMMARIZER.folder, tmp_path / "fp32", task="summarization").path
    lines = tmp_path / "few.jsonl"
    lines.write_text("".join(SUMMARIES.read_text("utf-8").splitlines(keepends=True)[:16]), "utf-8")
    done = zen("quantize", bundle, tmp_path / "out", "--budget", "rouge=3", "--inputs", lines)
    assert done.exit_code == 0, done.stderr
    assert "loss of rouge" in " ".join(done.stdout.split())
    with zen_edge.load(bundle) as before, zen_edge.load(tmp_path / "out") as after:
        held_out = read_lines(lines)[1::2]
        texts = [
            [hypotheses[0].text for hypotheses in pipeline.generate_each([line.source for line in held_out], num_beams=1)]
            for pipeline in (before, after)
        ]
    fp32, found = (scores("summarization", told, [line.target for line in held_out])["ROUGE-L"] for told in texts)
    assert fp32 - found <= 3
    assert (tmp_path / "out" / "weights.bin").stat().st_size < 0.5 * (bundle / "weights.bin").stat().st_size
