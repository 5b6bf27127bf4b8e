"""A bundle, as an application runs it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PRECISIONS = ("as exported",)
BATCHED = "-batched"  # behind a bundle's precision: recordings are cut at their silences, and the parts heard side by side
DEVICES = ("cpu", "cuda")
KEEPS_WEIGHTS = True
RECORDS_RUNS = True
PACKAGES = ("zen-edge", "onnxruntime", "onnxruntime-gpu", "numpy")  # one of the two builds
INSTALL = 'pip install "zen-edge[cpu]"'


def load(folder: Path, precision: str, threads: int, device: str = "cpu", **more: Any) -> Callable[..., tuple[list[str], Callable[[], list[int]]]]:
    import zen_edge

    pipeline = zen_edge.load(folder, device=device, threads=threads, **more)

    def translate(texts: list[str], num_beams: int, max_new_tokens: int, exactly: bool) -> tuple[list[str], Callable[[], list[int]]]:
        options = {"num_beams": num_beams, "max_new_tokens": max_new_tokens} | ({"min_new_tokens": max_new_tokens} if exactly else {})
        # The tokens take a second run, with scores that a call for texts leaves out.
        return pipeline(texts, **options), lambda: [len(results[0].tokens) for results in pipeline.generate(texts, **options)]

    return translate


def load_speech(
    folder: Path, precision: str, threads: int, device: str = "cpu", **more: Any
) -> Callable[..., tuple[list[str], Callable[[], list[int]]]]:
    import zen_edge

    pipeline: Any = zen_edge.load(folder, device=device, threads=threads, **more)
    decodes = any(graph.name == "decoder" for graph in pipeline.manifest.graphs)
    several = decodes and pipeline.manifest.generation.get("is_multilingual")
    spent = _timed(pipeline._model._encoder if decodes else pipeline._model._session)  # all of a model of one graph

    def hear(texts: list[str], num_beams: int, max_new_tokens: int, exactly: bool) -> tuple[list[str], Callable[[], list[int]]]:
        options: dict[str, Any] = {"num_beams": num_beams, "max_new_tokens": max_new_tokens} if decodes else {}
        options |= {"language": "en"} if several else {}
        options |= {"min_new_tokens": max_new_tokens} if exactly and decodes else {}
        options |= {"batched": True, "temperature": 0.0} if precision.endswith(BATCHED) else {}
        spent[:] = 0.0, 0
        found = [best for best, *_ in pipeline.generate(texts, **options)]
        return [one.text.strip() for one in found], lambda: [len(one.tokens) for one in found]

    hear.encoder_seconds, hear.encoder_windows = (lambda: spent[0]), (lambda: int(spent[1]))  # type: ignore[attr-defined]
    return hear


def load_encoder(
    folder: Path, precision: str, threads: int, task: str, device: str = "cpu", **more: Any
) -> Callable[..., tuple[list[Any], Callable[[], list[int]]]]:
    import zen_edge

    pipeline: Any = zen_edge.load(folder, device=device, threads=threads, **more)

    def embed(texts: list[str], num_beams: int, max_new_tokens: int, exactly: bool) -> tuple[list[Any], Callable[[], list[int]]]:
        return pipeline(texts).tolist(), lambda: [len(pipeline._tokenizer.encode(text)) for text in texts]

    def answer(texts: list[str], num_beams: int, max_new_tokens: int, exactly: bool) -> tuple[list[Any], Callable[[], list[int]]]:
        rows = [json.loads(text) for text in texts]
        questions, contexts = ([row[name] for row in rows] for name in ("question", "context"))
        found = [best.text for best in pipeline(question=questions, context=contexts)]
        return found, lambda: [len(pipeline._tokenizer.encoding(*pair)) for pair in zip(questions, contexts, strict=True)]

    return embed if task == "text-embedding" else answer


def _timed(encoder: Any) -> list[float]:
    """[seconds in the encoder's graph, windows that it was given], summed up until they are set back."""
    spent, run = [0.0, 0], encoder.run

    def timed(feeds: Any, *given: Any, **options: Any) -> Any:
        spent[1] += len(next(iter(feeds.values())))
        start = time.perf_counter()
        try:
            return run(feeds, *given, **options)
        finally:
            spent[0] += time.perf_counter() - start

    encoder.run = timed
    return spent
