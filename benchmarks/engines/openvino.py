"""OpenVINO through optimum-intel's export and transformers' `generate`, for text and for speech. It needs an older transformers, hence its own environment.

bf16 and fp32 are what products run in, weights stay float32 on disk. int8 has weights of 8 bits, a scale per channel; what products run in is left to OpenVINO.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PRECISIONS = ("bf16", "fp32", "int8")  # bf16 is what OpenVINO takes by itself where the processor has it
PACKAGES = ("openvino", "optimum-intel", "nncf", "transformers", "torch")
INSTALL = "remove its environment from zen-edge's cache folder, and it is made again"
# optimum-intel 2.2 wants torchvision, whose build on pip's index does not load beside torch's CPU build. torch is pinned: an open requirement would
# bring the newest one, with gigabytes of CUDA where pip's index has no CPU build.
ENVIRONMENT = ("optimum-intel[openvino]==2.1.0", "openvino==2026.4.1", "nncf==3.4.0", "torch==2.13.0", "sentencepiece", "soundfile")


def convert(model: Path, out: Path, precision: str, task: str) -> None:
    import transformers
    from optimum import intel

    if task == "question-answering":
        raise ValueError("OpenVINO is compared on text-embedding among encoders, which is the same work")
    hears, embeds = task == "speech-recognition", task == "text-embedding"
    kind = _kind(model) if hears else "FeatureExtraction" if embeds else "Seq2SeqLM"
    theirs = transformers.AutoModel if embeds else getattr(transformers, f"AutoModelFor{kind}")
    reader = transformers.AutoProcessor if hears else transformers.AutoTokenizer
    # Half-precision weights would be exported as they are; the comparison is with float32.
    whole = out / "checkpoint"
    theirs.from_pretrained(model, dtype="float32").save_pretrained(whole)
    reader.from_pretrained(model).save_pretrained(whole)
    getattr(intel, f"OVModelFor{kind}").from_pretrained(whole, export=True, compile=False, load_in_8bit=precision == "int8").save_pretrained(out)
    reader.from_pretrained(model).save_pretrained(out)
    for file in whole.iterdir():
        file.unlink()
    whole.rmdir()


def _kind(folder: Path) -> str:
    """Of speech: what the classes that load it are called."""
    from transformers import AutoConfig

    return "SpeechSeq2Seq" if AutoConfig.from_pretrained(folder).is_encoder_decoder else "CTC"


def _opened(folder: Path, kind: str, precision: str, threads: int) -> Any:
    import torch
    from optimum import intel

    torch.set_num_threads(threads)  # the search between two steps
    hint = {"bf16": {"INFERENCE_PRECISION_HINT": "bf16"}, "fp32": {"INFERENCE_PRECISION_HINT": "f32"}, "int8": {}}[precision]
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": str(threads), "NUM_STREAMS": "1", **hint}
    if precision == "bf16":
        _require_bf16()
    return getattr(intel, f"OVModelFor{kind}").from_pretrained(folder, device="CPU", ov_config=settings)


def load(folder: Path, precision: str, threads: int) -> Callable[..., tuple[list[str], Callable[[], list[int]]]]:
    import torch
    from transformers import AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), _opened(folder, "Seq2SeqLM", precision, threads)
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


def load_encoder(folder: Path, precision: str, threads: int, task: str) -> Callable[..., tuple[list[Any], Callable[[], list[int]]]]:
    from transformers import AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), _opened(folder, "FeatureExtraction", precision, threads)

    def embed(texts: list[str], num_beams: int, max_new_tokens: int, exactly: bool) -> tuple[list[Any], Callable[[], list[int]]]:
        inputs = tokenizer(texts, return_tensors="pt", padding=True)
        states = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"][..., None]
        return ((states * mask).sum(1) / mask.sum(1)).tolist(), lambda: inputs["attention_mask"].sum(1).tolist()

    return embed


def load_speech(folder: Path, precision: str, threads: int) -> Callable[..., tuple[list[str], Callable[[], list[int]]]]:
    import torch
    from transformers import AutoProcessor

    processor, kind = AutoProcessor.from_pretrained(folder), _kind(folder)
    model = _opened(folder, kind, precision, threads)
    spent = _timed(model.encoder) if kind == "SpeechSeq2Seq" else _timed(model)
    rate = processor.feature_extractor.sampling_rate

    def hear(texts: list[str], num_beams: int, max_new_tokens: int, exactly: bool) -> tuple[list[str], Callable[[], list[int]]]:
        spent[:] = 0.0, 0
        sounds = [_read(path, rate) for path in texts]
        with torch.inference_mode():
            if kind == "CTC":
                inputs = processor(sounds, sampling_rate=rate, return_tensors="pt", padding=True)
                found = processor.batch_decode(model(**inputs).logits.argmax(-1))
                return found, lambda: [len(text) for text in found]
            if max(map(len, sounds)) > 30 * rate:
                raise ValueError("sound longer than a window is not heard by this engine")
            inputs = processor(sounds, sampling_rate=rate, return_tensors="pt")
            asked = {"language": "en", "task": "transcribe"} if model.generation_config.is_multilingual else {}
            least = {"min_new_tokens": max_new_tokens} if exactly else {}
            rows = model.generate(**inputs, **asked, **least, num_beams=num_beams, max_new_tokens=max_new_tokens)
        end = model.generation_config.eos_token_id
        return [text.strip() for text in processor.batch_decode(rows, skip_special_tokens=True)], lambda: [
            _length([token for token in row if token <= end], {end}) for row in rows.tolist()
        ]

    hear.encoder_seconds, hear.encoder_windows = (lambda: spent[0]), (lambda: int(spent[1]))  # type: ignore[attr-defined]
    return hear


def _timed(part: Any) -> list[float]:
    """[seconds in the encoder, or in a model of one graph, windows that it was given], summed up until they are set back."""
    spent, forward = [0.0, 0], part.forward

    def timed(*given: Any, **options: Any) -> Any:
        spent[1] += len(next(value for value in (*given, *options.values()) if hasattr(value, "shape")))
        start = time.perf_counter()
        try:
            return forward(*given, **options)
        finally:
            spent[0] += time.perf_counter() - start

    part.forward = timed
    return spent


def _read(path: str, rate: int) -> Any:
    import soundfile

    sound, found = soundfile.read(path, dtype="float32")
    if found != rate:
        raise ValueError(f"{path} has {found} Hz, the model wants {rate}")
    return sound


def _require_bf16() -> None:
    """Where the processor has none, OpenVINO would take another precision in silence."""
    from openvino import Core

    able = Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" not in able:
        raise ValueError(f"this processor has no bf16 for OpenVINO (it has {', '.join(able)}): ask for openvino:fp32")


def _length(tokens: list[int], ends: set[int]) -> int:
    """Tokens up to the end token, which is counted; what follows is padding."""
    return next((i + 1 for i, token in enumerate(tokens) if token in ends), len(tokens))
