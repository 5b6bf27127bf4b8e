"""PyTorch: transformers' tokenizer and `generate`, attention through sdpa."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

PRECISIONS = ("fp32", "bf16")
PACKAGES = ("torch", "transformers")
INSTALL = 'pip install "zen-edge[export]"'


def load(folder: Path, precision: str, threads: int) -> Callable[..., tuple[list[str], Callable[[], list[int]]]]:
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    torch.set_num_threads(threads)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=dtype).eval()
    model.generation_config.max_length = None  # max_new_tokens alone says how long; both would be warned about
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
