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


@pytest.mark.sweep  # four exports
def test_the_bundles_write_what_the_modules_write(dates, tmp_path):
    torch.manual_seed(0)
    encoder, step = dates.modules()
    dates.train(encoder, step, 8)
    dates.export(encoder, step, tmp_path)

    def of(module):
        def run(**arrays):
            with torch.no_grad():
                return {name: value.numpy() for name, value in module(**{name: torch.from_numpy(value) for name, value in arrays.items()}).items()}

        return run

    texts = [dates.pair(random.Random(seed))[0] for seed in range(30)]
    expected = dates.translate(of(encoder), of(step), texts)
    assert len(set(expected)) > 5
    with zen_edge.load(tmp_path / "encoder-fp32") as one, zen_edge.load(tmp_path / "step-fp32") as other:
        assert dates.translate(one, other, texts) == expected
        assert one.manifest.graph("module").unfused_attention + other.manifest.graph("module").unfused_attention == 0
        assert other.manifest.graph("module").fused_attention == 1
    done = subprocess.run([sys.executable, EXAMPLE, tmp_path, "--run"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("of the dates are right") == 2
