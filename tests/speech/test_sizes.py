"""Tiny models with what is peculiar to each published Whisper: heads, layers, mel bins and the very layout of its vocabulary, against `model.generate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoFeatureExtractor, AutoTokenizer
from transformers.models.whisper.tokenization_whisper import LANGUAGES

import zen_edge
from zen_edge.benchmarks.tiny_whisper import write_tiny_whisper
from zen_edge.exporters.checkpoint import load_checkpoint

from .conftest import RATE, Theirs, without_end

pytestmark = pytest.mark.sweep
HEAD = 8  # 64 in all of them
MOST_ENCODER_LAYERS = 3  # of up to 32
SHORT = {"max_new_tokens": 16}


@dataclass(frozen=True)
class Size:
    """layers: of the encoder and the decoder. text: tokens before the end token. languages: that have a token. vocabulary: all tokens."""

    layers: tuple[int, int]
    heads: int
    vocabulary: int
    mels: int = 80
    text: int = 50257
    languages: int = 99
    multilingual: bool = True

    def write(self, folder: Path) -> Any:
        encoder, decoder = self.layers
        return write_tiny_whisper(
            folder,
            multilingual=self.multilingual,
            languages=list(LANGUAGES)[: self.languages],
            text=self.text,
            d_model=HEAD * self.heads,
            encoder_layers=min(encoder, MOST_ENCODER_LAYERS),
            decoder_layers=decoder,
            encoder_attention_heads=self.heads,
            decoder_attention_heads=self.heads,
            num_mel_bins=self.mels,
        )


SIZES = {
    "tiny": Size((4, 4), 6, 51865),
    "tiny.en": Size((4, 4), 6, 51864, text=50256, multilingual=False),
    "base": Size((6, 6), 8, 51865),
    "base.en": Size((6, 6), 8, 51864, text=50256, multilingual=False),
    "large-v2": Size((32, 5), 20, 51865),  # 32 decoder layers
    "large-v3": Size((32, 5), 20, 51866, mels=128, languages=100),  # 32 decoder layers
    "large-v3-turbo": Size((32, 4), 20, 51866, mels=128, languages=100),
    "distil-large-v2": Size((32, 2), 20, 51865),
    "distil-large-v3": Size((32, 2), 20, 51866, mels=128, languages=100),
    "distil-small.en": Size((12, 4), 12, 51864, text=50256, multilingual=False),
}
EVERY: tuple[dict[str, Any], ...] = (
    {},
    {"return_timestamps": True},
    {"num_beams": 3},
    {"suppress_tokens": list(range(1000, 9000)), "begin_suppress_tokens": [220, 300]},
)
MULTILINGUAL: tuple[dict[str, Any], ...] = (
    {"task": "transcribe"},
    {"language": "german"},
    {"language": "su", "task": "translate", "return_timestamps": True},
    {"task": "translate", "num_beams": 2},
)


@pytest.mark.parametrize("name", SIZES)
def test_the_same_tokens(name, tmp_path: Path, sounds):
    size = SIZES[name]
    model = size.write(tmp_path / name)
    assert model.config.vocab_size == size.vocabulary
    if size.multilingual:
        assert model.generation_config.lang_to_id["<|en|>"] == 50259
    zen_edge.export(tmp_path / name, tmp_path / "bundle")
    theirs = Theirs(
        load_checkpoint(tmp_path / name).model, AutoTokenizer.from_pretrained(tmp_path / name), AutoFeatureExtractor.from_pretrained(tmp_path / name)
    )
    end = theirs.model.generation_config.eos_token_id
    ids = theirs.tokenizer.get_prompt_ids("The test", return_tensors="pt")
    own = {"language": "yue"} if size.languages == 100 else {"language": "en"} if size.multilingual else {}
    with zen_edge.load(tmp_path / "bundle", threads=1) as pipeline:
        cases = [({**SHORT, **options}, {**SHORT, **options}) for options in (*EVERY, *(MULTILINGUAL if size.multilingual else ()), own)]
        for ours, options in [*cases, ({"prompt": "The test", **own, **SHORT}, {"prompt_ids": ids, **own, **SHORT})]:
            for seed, seconds in enumerate((2.0, 0.4)):
                audio = sounds(seconds, seed)
                found = pipeline.generate(audio, sampling_rate=RATE, window="full", **ours)[0][0]
                assert without_end(found.tokens, end) == theirs.generate(audio, **options), (ours, seconds)
                assert len(found.tokens) > 3
        audio = sounds(33.0, 2)
        found = pipeline.generate(audio, sampling_rate=RATE, **SHORT, **own)[0][0]
        assert without_end(found.tokens, end) == theirs.generate(audio, long=True, return_timestamps=True, **SHORT, **own)
        assert found.language == own.get("language", "en")
