"""`zen-edge bench` and `zen-edge parity` for real, on a small summarizer; CTranslate2 beside PyTorch on the shapes that are measured."""

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from zen_edge.cli import app
from zen_edge.errors import InputError
from zen_edge.inputs import BUILT_IN, Line

SOURCES = [line.source for line in BUILT_IN[:4]]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEN_EDGE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def summarizer(small_checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    import zen_edge

    return zen_edge.export(small_checkpoint("bart-base"), tmp_path_factory.mktemp("summarizer") / "fp32", task="summarization", verify=False).path


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps({"source": source, "target": source[:20]}) + "\n" for source in SOURCES))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_bench_tells_rouge(summarizer: Path, small_checkpoint: Callable[[str], Path], lines: Path, tmp_path: Path) -> None:
    options = ("--num-beams", "1,3", "--batch-sizes", "2", "--inputs", lines, "--max-new-tokens", 8, "--rounds", 2, "--report", tmp_path / "out")
    model = small_checkpoint("bart-base")
    done = run("bench", summarizer, "--against", "torch,ctranslate2:fp32", "--model", model, *options, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    rows = report["cases"]
    assert [(row["engine"], row["num_beams"]) for row in rows] == [(name, beams) for beams in (1, 3) for name in ("zen-edge", "torch", "ctranslate2")]
    for row in rows:
        assert row["quality"].keys() >= {"rouge_1", "rouge_2", "rouge_l", "agreement_chrf"} and "chrf" not in row["quality"]
        assert row["quality"]["lines"] == len(SOURCES)
    assert [row["quality"]["identical"] for row in rows if row["engine"] != "ctranslate2"] == [4, 4, 4, 4]  # CTranslate2 forces no end token
    assert report["setting"]["task"] == "summarization" and any("ROUGE" in note for note in report["notes"])
    assert "ROUGE-1/2/L" in (tmp_path / "out" / "report.html").read_text()
    shown = run("bench", summarizer, "--inputs", lines, "--max-new-tokens", 8, "--rounds", 1).stdout
    assert "ROUGE-1/2/L" in shown and "chrF" not in shown


def test_parity_tells_rouge(summarizer: Path, small_checkpoint: Callable[[str], Path], lines: Path) -> None:
    done = run("parity", summarizer, small_checkpoint("bart-base"), "--inputs", lines, "--limit", 2, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["text"].keys() == {"chrF", "BLEU", "ROUGE-1", "ROUGE-2", "ROUGE-L"}


def test_tasks_are_not_mixed(summarizer: Path, demo_int8: Path) -> None:
    from zen_edge.benchmarks.bench import Shape, bench
    from zen_edge.benchmarks.measure import Setting

    with pytest.raises(InputError, match=r"different tasks \(summarization, translation\)"):
        bench([summarizer, demo_int8], [], None, [Shape(1, 1)], [Line("a")], Setting(1, 8))


@pytest.mark.parametrize("shape", ["bart-base", "t5-base"])
@pytest.mark.parametrize("repeats", [False, True])
def test_ctranslate2_says_what_pytorch_says(shape: str, repeats: bool, small_checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    """repeats: a model that would repeat one word, but for a generation option that both must honour."""
    import torch
    from transformers import AutoConfig, AutoModelForSeq2SeqLM, GenerationConfig

    torch.manual_seed(0)
    folder = tmp_path / "checkpoint"
    shutil.copytree(small_checkpoint(shape), folder)
    if repeats:
        AutoModelForSeq2SeqLM.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    options = {"no_repeat_ngram_size": 2, "min_length": 5} if repeats else {}
    GenerationConfig.from_pretrained(folder, forced_eos_token_id=None, **options).save_pretrained(folder)  # CTranslate2 forces none
    theirs, pytorch = (importlib.import_module(f"zen_edge.benchmarks.engines.{name}") for name in ("ctranslate2", "torch"))
    theirs.convert(folder, tmp_path / "converted", "fp32", "summarization")
    found, expected = theirs.load(tmp_path / "converted", "fp32", 1), pytorch.load(folder, "fp32", 1)
    for exactly in (False, True):
        (texts, tokens), (wanted, counts) = (translate(SOURCES, 1, 12, exactly) for translate in (found, expected))
        assert texts == wanted and tokens() == counts()
        assert len(set(texts)) > 1 or repeats
