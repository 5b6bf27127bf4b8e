"""zen-edge demo, whole: it exports, checks, times, translates and summarizes."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path


def test_demo(process, tmp_path: Path):
    out = tmp_path / "demo"
    done = process("demo", out, OMP_NUM_THREADS="1")
    shown = done.stdout.decode()
    assert done.returncode == 0, shown + done.stderr.decode()
    assert shown.count("64 of 64 outputs have the same tokens as PyTorch") == 2
    assert re.search(r"fp32: parity holds, chrF [^:]*ROUGE-L \d", " ".join(shown.split()))
    assert "fp32: parity holds, chrF" in shown
    assert "int8: parity holds, chrF" in shown
    for engine in ("PyTorch fp32", "zen-edge fp32", "zen-edge int8"):
        assert engine in shown
    assert "simple game with cards for two players\n    jeu simple de cartes pour deux joueurs" in shown
    told = done.stderr.decode()
    assert "Traceback" not in told
    assert "trace the decoder" in told

    for task, precision in itertools.product(("translation", "summarization"), ("fp32", "int8")):
        manifest = json.loads((out / f"{task}-{precision}" / "zen-edge.json").read_text("utf-8"))
        assert (manifest["task"], manifest["precision"]) == (task, precision)
        assert manifest["parity"]["passed"] is True
    assert process("run", out / "translation-int8", "simple game").stdout.decode() == "jeu simple\n"
    assert process("demo", out).returncode == 1  # it is there already
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
