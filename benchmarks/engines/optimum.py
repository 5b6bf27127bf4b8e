"""Optimum's export to ONNX, run by ONNX Runtime through transformers' `generate`. It needs an older transformers, hence its own environment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

PRECISIONS = ("fp32",)
PACKAGES = ("optimum-onnx", "optimum", "onnxruntime", "transformers", "torch")
INSTALL = "remove its environment from zen-edge's cache folder, and it is made again"
# torch is pinned: an open requirement would bring the newest one, with gigabytes of CUDA where pip's index has no CPU build.
ENVIRONMENT = ("optimum-onnx[onnxruntime]==0.1.0", "transformers<4.58", "torch==2.13.0", "sentencepiece")


def convert(model: Path, out: Path, precision: str, task: str) -> None:
    import torch
    from optimum.onnxruntime import ORTModelForSeq2SeqLM
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    # Half-precision weights would be exported as they are; the comparison is with float32.
    whole = out / "checkpoint"
    AutoModelForSeq2SeqLM.from_pretrained(model, dtype=torch.float32).save_pretrained(whole)
    AutoTokenizer.from_pretrained(model).save_pretrained(whole)
    ORTModelForSeq2SeqLM.from_pretrained(whole, export=True).save_pretrained(out)
    AutoTokenizer.from_pretrained(model).save_pretrained(out)
    for file in whole.iterdir():
        file.unlink()
    whole.rmdir()


def load(folder: Path, precision: str, threads: int) -> Callable[..., tuple[list[str], Callable[[], list[int]]]]:
    import onnxruntime
    import torch
    from optimum.onnxruntime import ORTModelForSeq2SeqLM
    from transformers import AutoTokenizer

    torch.set_num_threads(threads)  # the search between two steps
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = ORTModelForSeq2SeqLM.from_pretrained(folder, session_options=options, provider="CPUExecutionProvider")
    model.generation_config.max_length = None  # max_new_tokens alone says how long
    end = model.generation_config.eos_token_id
    ends = set(end if isinstance(end, list) else [end])

    def translate(texts: list[str], num_beams: int, max_new_tokens: int, exactly: bool) -> tuple[list[str], Callable[[], list[int]]]:
        inputs = tokenizer(texts, return_tensors="pt", padding=True)
        least = {"min_new_tokens": max_new_tokens} if exactly else {}
        with torch.inference_mode():
            rows = model.generate(**inputs, num_beams=num_beams, max_new_tokens=max_new_tokens, **least)
        return tokenizer.batch_decode(rows, skip_special_tokens=True), lambda: [_length(row[1:], ends) for row in rows.tolist()]

    return translate


def _length(tokens: list[int], ends: set[int]) -> int:
    """Tokens up to the end token, which is counted; what follows is padding."""
    return next((i + 1 for i, token in enumerate(tokens) if token in ends), len(tokens))
