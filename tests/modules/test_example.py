"""The worked example, with a few seconds of training."""

import importlib.util
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import zen_edge

EXAMPLE = Path(__file__).parents[2] / "examples" / "dates.py"


@pytest.fixture(scope="module")
def dates():
    spec = importlib.util.spec_from_file_location("dates", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_dates_are_written_as_machines_do(dates):
    draw = random.Random(3)
    for written, wanted in (dates.pair(draw) for _ in range(50)):
        assert set(written) <= set(dates.LETTERS)
        assert len(wanted) == 10
        assert wanted[:4] in written


@pytest.mark.sweep  # an export, two parities
def test_the_bundles_write_what_the_modules_write(dates, tmp_path):
    torch.manual_seed(0)
    encoder, step = dates.modules()
    dates.train(encoder, step, 8)
    made = dates.translator(encoder, step)
    dates.export(made, tmp_path)
    dates.export_layer(encoder, step, "3 May 2021", tmp_path)
    dates.draw(tmp_path, "3 May 2021")
    for name in ("layer.png", "attention.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    with zen_edge.load(tmp_path / "dates-fp32") as pipeline:
        seen = pipeline.attend("3 May 2021")
        assert (seen.source, "".join(seen.target)[: len(seen.text)]) == ((*"3▁may▁2021", "\2"), seen.text)
        assert seen.weights["cross"].shape == (1, 1, len(seen.target), len(seen.source))

    texts = [dates.pair(random.Random(seed))[0] for seed in range(30)]
    expected = dates.of_pytorch(made, texts)
    assert len(set(expected)) > 5
    with zen_edge.load(tmp_path / "dates-fp32") as pipeline:
        assert pipeline(texts) == expected
        assert pipeline.manifest.limits["padded"] == 1
        decoder = pipeline.manifest.graph("decoder")
        assert (decoder.fused_attention, decoder.unfused_attention) == (1, 0)
    for precision in ("fp32", "int8"):
        report = zen_edge.parity(tmp_path / f"dates-{precision}", made, inputs=texts[:8])
        assert report.passed, report.failures
    done = subprocess.run([sys.executable, EXAMPLE, tmp_path, "--run"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("of the dates are right") == 2
