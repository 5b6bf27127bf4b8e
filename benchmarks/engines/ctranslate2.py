"""CTranslate2, on the checkpoint as its own converter writes it. Sentencepiece cuts the text where the checkpoint brings it, as CTranslate2's
guide for OPUS-MT shows: no part of transformers is loaded then."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

PRECISIONS = ("int8", "fp32")
PACKAGES = ("ctranslate2", "sentencepiece")
INSTALL = "pip install ctranslate2"

END = "</s>"


def convert(model: Path, out: Path, precision: str) -> None:
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(model), low_cpu_mem_usage=True).convert(str(out), quantization={"int8": "int8", "fp32": "float32"}[precision])
    if (model / "source.spm").exists():
        shutil.copy(model / "source.spm", out)
    else:
        from transformers import AutoTokenizer

        AutoTokenizer.from_pretrained(model).save_pretrained(out / "tokenizer")


def load(folder: Path, precision: str, threads: int) -> Callable[..., tuple[list[str], Callable[[], list[int]]]]:
    import ctranslate2

    encode, decode = _tokenizer(folder)
    compute_type = {"int8": "int8", "fp32": "float32"}[precision]
    translator = ctranslate2.Translator(str(folder), device="cpu", compute_type=compute_type, inter_threads=1, intra_threads=threads)

    def translate(texts: list[str], num_beams: int, max_new_tokens: int, exactly: bool) -> tuple[list[str], Callable[[], list[int]]]:
        results = translator.translate_batch(
            [encode(text) for text in texts],
            beam_size=num_beams,
            max_decoding_length=max_new_tokens,  # decoder steps: no end token is added where it runs out
            min_decoding_length=max_new_tokens if exactly else 1,
            return_end_token=True,  # counted, as every engine counts it
        )
        rows = [result.hypotheses[0] for result in results]
        return [decode([piece for piece in row if piece != END]) for row in rows], lambda: [len(row) for row in rows]

    return translate


def _tokenizer(folder: Path) -> tuple[Callable[[str], list[str]], Callable[[list[str]], str]]:
    if (folder / "source.spm").exists():
        from sentencepiece import SentencePieceProcessor

        pieces = SentencePieceProcessor(model_file=str(folder / "source.spm"))
        return lambda text: [*pieces.encode(text, out_type=str), END], pieces.decode
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    return (
        lambda text: tokenizer.convert_ids_to_tokens(tokenizer.encode(text)),
        lambda row: tokenizer.decode(tokenizer.convert_tokens_to_ids(row), skip_special_tokens=True),
    )
