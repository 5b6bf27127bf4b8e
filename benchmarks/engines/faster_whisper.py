"""faster-whisper, on the checkpoint as CTranslate2's converter writes it. Its batched pipeline cuts sound at pauses that its own voice activity
detection finds, and hears eight pieces at once; it is an engine of its own under the precision int8-batched."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PRECISIONS = ("int8", "fp32", "fp16", "int8-batched")
DEVICES = ("cpu", "cuda")
PACKAGES = ("faster-whisper", "ctranslate2", "onnxruntime")
INSTALL = 'pip install "zen-edge[bench]"'

TYPES = {"fp32": "float32", "fp16": "float16"}  # others are int8
WINDOW = 30  # seconds
PIECES = 8  # at once, of the batched pipeline
TOKENIZER = ("tokenizer.json", "preprocessor_config.json")


def convert(model: Path, out: Path, precision: str, task: str) -> None:
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(model), low_cpu_mem_usage=True).convert(str(out), quantization=TYPES.get(precision, "int8"))
    for name in TOKENIZER:
        if (model / name).exists():
            shutil.copy(model / name, out)


def load_speech(folder: Path, precision: str, threads: int, device: str = "cpu") -> Callable[..., tuple[list[str], Callable[[], list[int]]]]:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(str(folder), device=device, compute_type=TYPES.get(precision, "int8"), cpu_threads=threads, num_workers=1)
    batched = BatchedInferencePipeline(model) if precision == "int8-batched" else None
    spent = _timed(model)

    def transcribe(texts: list[str], num_beams: int, max_new_tokens: int, exactly: bool) -> tuple[list[str], Callable[[], list[int]]]:
        spent[:] = 0.0, 0
        found = [_hear(model, batched, path, num_beams, max_new_tokens, exactly) for path in texts]
        return ["".join(segment.text for segment in segments).strip() for segments in found], lambda: [
            sum(len(segment.tokens) for segment in segments) for segments in found
        ]

    transcribe.encoder_seconds, transcribe.encoder_windows = (lambda: spent[0]), (lambda: int(spent[1]))  # type: ignore[attr-defined]
    return transcribe


def _hear(model: Any, batched: Any, path: str, num_beams: int, max_new_tokens: int, exactly: bool) -> list[Any]:
    """The segments of one sound file, without fallbacks to other temperatures. Sound of several windows needs times to go on from."""
    from faster_whisper import decode_audio

    sound = decode_audio(path)
    options: dict[str, Any] = {
        "language": "en",
        "beam_size": num_beams,
        "temperature": 0.0,
        "condition_on_previous_text": False,
        "max_new_tokens": max_new_tokens,
        "without_timestamps": len(sound) <= WINDOW * 16_000,
    }
    if exactly:
        options["suppress_tokens"] = [-1, model.hf_tokenizer.token_to_id("<|endoftext|>")]
    if batched is not None:
        return list(batched.transcribe(sound, batch_size=PIECES, **{**options, "without_timestamps": True})[0])
    return list(model.transcribe(sound, **options)[0])


def _timed(model: Any) -> list[float]:
    """[seconds in the encoder, windows that it was given], summed up until they are set back."""
    spent, encode = [0.0, 0], model.encode

    def timed(features: Any) -> Any:
        spent[1] += len(features) if features.ndim == 3 else 1
        start = time.perf_counter()
        try:
            return encode(features)
        finally:
            spent[0] += time.perf_counter() - start

    model.encode = timed
    return spent
