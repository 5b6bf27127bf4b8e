"""CTranslate2, on the checkpoint as its own converter writes it. Text is cut by sentencepiece where the checkpoint brings it, as CTranslate2's guide
for OPUS-MT shows, or by the tokenizers library: no part of transformers is loaded then."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

PRECISIONS = ("int8", "fp32", "fp16")
DEVICES = ("cpu", "cuda")
PACKAGES = ("ctranslate2", "sentencepiece", "tokenizers")
INSTALL = "pip install ctranslate2"

TYPES = {"int8": "int8", "fp32": "float32", "fp16": "float16"}  # fp16 is for GPUs
END = "</s>"
# What the converter reads from configurations, and transformers 5 writes no more because the class says it: where a layer normalizes, and whether
# the embedding does.
SAID_BY_CLASS = {
    "bart": {"normalize_before": False, "normalize_embedding": True},
    "mbart": {"normalize_before": True, "normalize_embedding": True},
    "pegasus": {"normalize_before": True, "normalize_embedding": False},
}
HONOURED = ("no_repeat_ngram_size", "repetition_penalty", "length_penalty")  # generation options that mean here what they mean in transformers


def convert(model: Path, out: Path, precision: str, task: str) -> None:
    from ctranslate2.converters import TransformersConverter

    with tempfile.TemporaryDirectory() as name:
        source = Path(name)
        for file in model.iterdir():
            (source / file.name).symlink_to(file.resolve())
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
        (source / "config.json").unlink()
        (source / "config.json").write_text(json.dumps(SAID_BY_CLASS.get(config["model_type"], {}) | config), encoding="utf-8")
        TransformersConverter(str(source), low_cpu_mem_usage=True).convert(str(out), quantization=TYPES[precision])
    if (model / "generation_config.json").exists():
        shutil.copy(model / "generation_config.json", out)
    if (model / "source.spm").exists():
        shutil.copy(model / "source.spm", out)
    else:
        from transformers import AutoTokenizer

        AutoTokenizer.from_pretrained(model).save_pretrained(out / "tokenizer")


def load(folder: Path, precision: str, threads: int, device: str = "cpu") -> Callable[..., tuple[list[str], Callable[[], list[int]]]]:
    import ctranslate2

    encode, decode = _tokenizer(folder)
    translator = ctranslate2.Translator(str(folder), device=device, compute_type=TYPES[precision], inter_threads=1, intra_threads=threads)
    defaults = _defaults(folder)
    options = {name: defaults[name] for name in HONOURED if defaults.get(name) is not None}
    least = max(1, (defaults.get("min_length") or 0) - 1)  # transformers counts the decoder's start

    def translate(texts: list[str], num_beams: int, max_new_tokens: int, exactly: bool) -> tuple[list[str], Callable[[], list[int]]]:
        results = translator.translate_batch(
            [encode(text) for text in texts],
            beam_size=num_beams,
            max_decoding_length=max_new_tokens,  # decoder steps: no end token is added where it runs out
            min_decoding_length=max_new_tokens if exactly else least,
            return_end_token=True,  # counted, as every engine counts it
            max_input_length=0,  # the lines fit the model, and none may be cut
            **options,
        )
        rows = [result.hypotheses[0] for result in results]
        return [decode([piece for piece in row if piece != END]) for row in rows], lambda: [len(row) for row in rows]

    return translate


def _defaults(folder: Path) -> dict[str, Any]:
    file = folder / "generation_config.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found


def _tokenizer(folder: Path) -> tuple[Callable[[str], list[str]], Callable[[list[str]], str]]:
    if (folder / "source.spm").exists():
        from sentencepiece import SentencePieceProcessor

        pieces = SentencePieceProcessor(model_file=str(folder / "source.spm"))
        return lambda text: [*pieces.encode(text, out_type=str), END], pieces.decode
    if (folder / "tokenizer" / "tokenizer.json").exists():
        from tokenizers import Tokenizer

        fast = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
        fast.no_truncation()
        fast.no_padding()
        return lambda text: fast.encode(text).tokens, lambda row: fast.decode([id for piece in row if (id := fast.token_to_id(piece)) is not None])
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    return (
        lambda text: tokenizer.convert_ids_to_tokens(tokenizer.encode(text)),
        lambda row: tokenizer.decode(tokenizer.convert_tokens_to_ids(row), skip_special_tokens=True),
    )
