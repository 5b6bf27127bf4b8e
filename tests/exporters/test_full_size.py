"""The budgets of a 74 M-parameter OPUS-MT model: size, time and memory of its export, and of its first translation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from zen_edge.benchmarks.make_checkpoint import write

pytestmark = [pytest.mark.sweep, pytest.mark.alone]

EXPORT = """
    import json, resource, sys, time
    import zen_edge
    start = time.perf_counter()
    zen_edge.export(sys.argv[1], sys.argv[2], precision=sys.argv[3])
    print(json.dumps([time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3]))
"""
FIRST = """
    import json, sys, time
    start = time.perf_counter()
    import zen_edge
    text = zen_edge.load(sys.argv[1], threads=2)("simple tool for reading text files", num_beams=1, max_new_tokens=16)
    taken = time.perf_counter() - start
    peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1e3
    print(json.dumps([taken, peak, len(text)]))
"""


def child(code: str, *arguments: object) -> list[float]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env={**os.environ})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full") / "marian-74m"
    write(folder)
    return folder


@pytest.mark.parametrize(("precision", "most_megabytes"), [("fp32", 305), ("int8", 80)])
def test_size_time_and_memory(precision: str, most_megabytes: float, checkpoint: Path, tmp_path: Path) -> None:
    seconds, peak = child(EXPORT, checkpoint, tmp_path / "out", precision)
    size = sum(file.stat().st_size for file in (tmp_path / "out").iterdir()) / 1e6
    print(f"{precision}: {size:.1f} MB, exported and verified in {seconds:.0f} s, {peak:.0f} MB at most")
    assert size < most_megabytes
    assert seconds < 90
    assert peak < 3000
    if precision == "int8":
        first, peak, characters = min(child(FIRST, tmp_path / "out") for _ in range(3))
        print(f"import, load and first translation {first:.2f} s, {peak:.0f} MB at most")
        assert characters > 0
        assert first < 1.5
        assert peak < 150 + 2.2 * size
