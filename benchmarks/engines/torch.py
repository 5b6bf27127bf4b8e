"""PyTorch: transformers' tokenizer or processor and `generate`, attention through sdpa."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PRECISIONS = ("fp32", "bf16")
DEVICES = ("cpu", "cuda")
PACKAGES = ("torch", "transformers")
INSTALL = 'pip install "zen-edge[export]"'


def load(folder: Path, precision: str, threads: int, device: str = "cpu") -> Callable[..., tuple[list[str], Callable[[], list[int]]]]:
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    torch.set_num_threads(threads)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=dtype).eval().to(device)
    model.generation_config.max_length = None  # max_new_tokens alone says how long; both would be warned about
    end = model.generation_config.eos_token_id
    ends = set(end if isinstance(end, list) else [end])

    def translate(texts: list[str], num_beams: int, max_new_tokens: int, exactly: bool) -> tuple[list[str], Callable[[], list[int]]]:
        inputs = tokenizer(texts, return_tensors="pt", padding=True).to(device)
        least = {"min_new_tokens": max_new_tokens} if exactly else {}
        with torch.inference_mode():
            rows = model.generate(**inputs, num_beams=num_beams, max_new_tokens=max_new_tokens, **least)
        return tokenizer.batch_decode(rows, skip_special_tokens=True), lambda: [_length(row[1:], ends) for row in rows.tolist()]

    return translate


def load_speech(folder: Path, precision: str, threads: int, device: str = "cpu") -> Callable[..., tuple[list[str], Callable[[], list[int]]]]:
    import torch
    from transformers import AutoConfig, AutoModelForCTC, AutoModelForSpeechSeq2Seq, AutoProcessor

    torch.set_num_threads(threads)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    processor = AutoProcessor.from_pretrained(folder)
    decodes = AutoConfig.from_pretrained(folder).is_encoder_decoder
    model = (AutoModelForSpeechSeq2Seq if decodes else AutoModelForCTC).from_pretrained(folder, dtype=dtype).eval().to(device)
    spent = _timed(model.get_encoder()) if decodes else _timed(model)

    def hear(texts: list[str], num_beams: int, max_new_tokens: int, exactly: bool) -> tuple[list[str], Callable[[], list[int]]]:
        spent[:] = 0.0, 0
        sounds = [_read(path, processor.feature_extractor.sampling_rate) for path in texts]
        rate = processor.feature_extractor.sampling_rate
        with torch.inference_mode():
            if decodes:
                rows = _generated(model, processor, sounds, rate, dtype, num_beams, max_new_tokens, exactly)
                end = model.generation_config.eos_token_id
                return [text.strip() for text in processor.batch_decode(rows, skip_special_tokens=True)], lambda: [
                    _length(row, {end}) for row in map(_after_start(processor, end), rows.tolist())
                ]
            inputs = processor(sounds, sampling_rate=rate, return_tensors="pt", padding=True)
            ids = model(
                **{name: value.to(device, dtype) if value.is_floating_point() else value.to(device) for name, value in inputs.items()}
            ).logits.argmax(-1)
        texts = processor.batch_decode(ids)
        return texts, lambda: [len(text) for text in texts]

    hear.encoder_seconds, hear.encoder_windows = (lambda: spent[0]), (lambda: int(spent[1]))  # type: ignore[attr-defined]
    return hear


def _hears_windows(processor: Any) -> bool:
    """As Whisper does: sound in pieces of one length. Others hear utterances."""
    return hasattr(processor.feature_extractor, "nb_max_frames")


def _after_start(processor: Any, end: int) -> Callable[[list[int]], list[int]]:
    """Of a row, what was generated: Whisper's prompt and times are ids beyond its end token."""
    return (lambda row: [token for token in row if token <= end]) if _hears_windows(processor) else lambda row: row[1:]


def load_encoder(
    folder: Path, precision: str, threads: int, task: str, device: str = "cpu"
) -> Callable[..., tuple[list[Any], Callable[[], list[int]]]]:
    import torch
    from transformers import AutoModel, AutoModelForQuestionAnswering, AutoTokenizer

    torch.set_num_threads(threads)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    kind = AutoModel if task == "text-embedding" else AutoModelForQuestionAnswering
    model = kind.from_pretrained(folder, dtype=dtype).eval().to(device)

    def embed(texts: list[str], num_beams: int, max_new_tokens: int, exactly: bool) -> tuple[list[Any], Callable[[], list[int]]]:
        inputs = tokenizer(texts, return_tensors="pt", padding=True).to(device)
        with torch.inference_mode():
            states = model(**inputs).last_hidden_state.float()
        mask = inputs["attention_mask"][..., None]
        return ((states * mask).sum(1) / mask.sum(1)).tolist(), lambda: inputs["attention_mask"].sum(1).tolist()

    def answer(texts: list[str], num_beams: int, max_new_tokens: int, exactly: bool) -> tuple[list[Any], Callable[[], list[int]]]:
        found, counts = [], []
        for row in map(json.loads, texts):  # windows of a context side by side, one question after another, as transformers' pipeline did
            cut = {"truncation": "only_second", "max_length": 384, "stride": 128, "return_overflowing_tokens": True}
            inputs = tokenizer(row["question"], row["context"], **cut, return_offsets_mapping=True, padding=True, return_tensors="pt")
            offsets, _ = inputs.pop("offset_mapping"), inputs.pop("overflow_to_sample_mapping")
            counts.append(int(inputs["attention_mask"].sum()))
            with torch.inference_mode():
                out = model(**inputs.to(device))
            context = torch.tensor([[part == 1 for part in inputs.sequence_ids(place)] for place in range(len(offsets))])
            start, end = (scores.float().cpu().masked_fill(~context, -1e4).softmax(-1) for scores in (out.start_logits, out.end_logits))
            spans = (start[:, :, None] * end[:, None, :]).triu().tril(14)
            window, first, last = (int(place) for place in torch.unravel_index(spans.argmax(), spans.shape))
            found.append(row["context"][int(offsets[window, first, 0]) : int(offsets[window, last, 1])])
        return found, lambda: counts

    return embed if task == "text-embedding" else answer


def _generated(model: Any, processor: Any, sounds: list[Any], rate: int, dtype: Any, num_beams: int, max_new_tokens: int, exactly: bool) -> Any:
    """Ids of the text of each sound. What is longer than a window is heard window after window, which needs times."""
    windows, long = _hears_windows(processor), max(map(len, sounds)) > 30 * rate
    more = {"truncation": False, "padding": "longest", "return_attention_mask": True} if long and windows else {} if windows else {"padding": True}
    inputs = processor(sounds, sampling_rate=rate, return_tensors="pt", **more)
    inputs[model.main_input_name] = inputs[model.main_input_name].to(dtype)
    asked: dict[str, Any] = {"min_new_tokens": max_new_tokens} if exactly else {}
    asked |= {"language": "en", "task": "transcribe"} if getattr(model.generation_config, "is_multilingual", False) else {}
    asked |= {"return_timestamps": long} if windows else {}
    return model.generate(**inputs.to(model.device), **asked, num_beams=num_beams, max_new_tokens=max_new_tokens)


def _read(path: str, rate: int) -> Any:
    import soundfile

    sound, found = soundfile.read(path, dtype="float32")
    if found != rate:
        raise ValueError(f"{path} has {found} Hz, the model wants {rate}")
    return sound


def _timed(module: Any) -> list[float]:
    """[seconds in the module, windows that it was given], summed up until they are set back."""
    spent, began = [0.0, 0], [0.0]

    def before(_: Any, given: Any, options: Any) -> None:
        spent[1] += len(next(value for value in (*given, *options.values()) if hasattr(value, "shape")))
        began[0] = time.perf_counter()

    def after(*_: Any) -> None:
        if next(module.parameters()).is_cuda:
            import torch

            torch.cuda.synchronize()  # it has been asked, and may still be at work
        spent[0] += time.perf_counter() - began[0]

    module.register_forward_pre_hook(before, with_kwargs=True)
    module.register_forward_hook(after)
    return spent


def _length(tokens: list[int], ends: set[int]) -> int:
    """Tokens up to the end token, which is counted; what follows is padding."""
    return next((i + 1 for i, token in enumerate(tokens) if token in ends), len(tokens))
