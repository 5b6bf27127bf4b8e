"""OpenVINO through optimum-intel's export and transformers' `generate`. It needs an older transformers, hence its own environment.

bf16 and fp32 are what products run in, weights stay float32 on disk. int8 has weights of 8 bits, a scale per channel; what products run in is left to OpenVINO.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

PRECISIONS = ("bf16", "fp32", "int8")  # bf16 is what OpenVINO takes by itself where the processor has it
PACKAGES = ("openvino", "optimum-intel", "nncf", "transformers", "torch")
INSTALL = "remove its environment from zen-edge's cache folder, and it is made again"
# optimum-intel 2.2 wants torchvision, whose build on pip's index does not load beside torch's CPU build. torch is pinned: an open requirement would
# bring the newest one, with gigabytes of CUDA where pip's index has no CPU build.
ENVIRONMENT = ("optimum-intel[openvino]==2.1.0", "openvino==2026.4.1", "nncf==3.4.0", "torch==2.13.0", "sentencepiece", "soundfile")


def convert(model: Path, out: Path, precision: str, task: str) -> None:
    import torch
    from optimum.intel import OVModelForSeq2SeqLM
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    # Half-precision weights would be exported as they are; the comparison is with float32.
    whole = out / "checkpoint"
    AutoModelForSeq2SeqLM.from_pretrained(model, dtype=torch.float32).save_pretrained(whole)
    OVModelForSeq2SeqLM.from_pretrained(whole, export=True, compile=False, load_in_8bit=precision == "int8").save_pretrained(out)
    AutoTokenizer.from_pretrained(model).save_pretrained(out)
    for file in whole.iterdir():
        file.unlink()
    whole.rmdir()


def load(folder: Path, precision: str, threads: int) -> Callable[..., tuple[list[str], Callable[[], list[int]]]]:
    import torch
    from optimum.intel import OVModelForSeq2SeqLM
    from transformers import AutoTokenizer

    torch.set_num_threads(threads)  # the search between two steps
    hint = {"bf16": {"INFERENCE_PRECISION_HINT": "bf16"}, "fp32": {"INFERENCE_PRECISION_HINT": "f32"}, "int8": {}}[precision]
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": str(threads), "NUM_STREAMS": "1", **hint}
    if precision == "bf16":
        _require_bf16()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = OVModelForSeq2SeqLM.from_pretrained(folder, device="CPU", ov_config=settings)
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


def _require_bf16() -> None:
    """Where the processor has none, OpenVINO would take another precision in silence."""
    from openvino import Core

    able = Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" not in able:
        raise ValueError(f"this processor has no bf16 for OpenVINO (it has {', '.join(able)}): ask for openvino:fp32")


def _length(tokens: list[int], ends: set[int]) -> int:
    """Tokens up to the end token, which is counted; what follows is padding."""
    return next((i + 1 for i, token in enumerate(tokens) if token in ends), len(tokens))
