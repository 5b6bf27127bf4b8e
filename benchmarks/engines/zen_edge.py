"""A bundle, as an application runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

PRECISIONS = ("as exported",)
PACKAGES = ("zen-edge", "onnxruntime", "numpy")
INSTALL = 'pip install "zen-edge[cpu]"'


def load(folder: Path, precision: str, threads: int) -> Callable[..., tuple[list[str], Callable[[], list[int]]]]:
    import zen_edge

    pipeline = zen_edge.load(folder, device="cpu", threads=threads)

    def translate(texts: list[str], num_beams: int, max_new_tokens: int, exactly: bool) -> tuple[list[str], Callable[[], list[int]]]:
        options = {"num_beams": num_beams, "max_new_tokens": max_new_tokens} | ({"min_new_tokens": max_new_tokens} if exactly else {})
        # The tokens take a second run, with scores that a call for texts leaves out.
        return pipeline(texts, **options), lambda: [len(results[0].tokens) for results in pipeline.generate(texts, **options)]

    return translate
