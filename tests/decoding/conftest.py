"""Tiny random models whose outputs say something: weights scaled until they no longer repeat one token, end tokens that do occur."""

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration, MarianConfig, MarianMTModel, T5Config, T5ForConditionalGeneration

sys.path.insert(0, str(Path(__file__).parent))  # for torch_step and fake_step beside this file

VOCAB_SIZE = 60
PAD = 59
BART = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
BART |= {"encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 128, "vocab_size": VOCAB_SIZE}


@pytest.fixture(scope="session", params=["marian", "bart", "t5"])
def model(request):
    torch.manual_seed(3)
    if request.param == "t5":
        config = T5Config(vocab_size=VOCAB_SIZE, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, tie_word_embeddings=False)
        made = T5ForConditionalGeneration(config)
        made.generation_config.decoder_start_token_id = config.pad_token_id
    elif request.param == "bart":
        made = BartForConditionalGeneration(BartConfig(**BART, tie_word_embeddings=False))
    else:
        made = MarianMTModel(MarianConfig(**BART, pad_token_id=PAD, eos_token_id=0, decoder_start_token_id=PAD, tie_word_embeddings=False))
    with torch.no_grad():
        for name, weights in made.named_parameters():
            if weights.dim() > 1:
                gain = 3.0 if "attn" in name.lower() or "attention" in name.lower() else 2.0
                weights.normal_(0, 1.0 if "embed" in name or "shared" in name else gain * weights.shape[1] ** -0.5)
        made.lm_head.weight.normal_(0, 0.5)
    # The tests say what they want of the search; the models' own defaults would hide it.
    for name in ("forced_eos_token_id", "forced_bos_token_id", "bad_words_ids", "max_length", "num_beams", "early_stopping", "eos_token_id"):
        setattr(made.generation_config, name, None)
    return made.eval()


@pytest.fixture(scope="session")
def batch():
    generator = torch.Generator().manual_seed(11)
    input_ids = torch.randint(3, VOCAB_SIZE - 2, (6, 9), generator=generator)
    mask = torch.ones_like(input_ids)
    for row, length in enumerate((9, 4, 7, 2, 9, 5)):
        mask[row, length:] = 0
    return input_ids, mask


@dataclass(frozen=True)
class Tokens:
    """ends: two tokens that come early in the greedy output of some inputs and never in that of others. common: the most frequent others."""

    ends: list[int]
    common: list[int]


@pytest.fixture(scope="session")
def tokens(model, batch):
    input_ids, mask = batch
    rows = model.generate(input_ids=input_ids, attention_mask=mask, max_new_tokens=14, pad_token_id=PAD)[:, 1:].tolist()
    counts = Counter(token for row in rows for token in row)
    holders = {token: [row.index(token) for row in rows if token in row] for token in counts}
    ends = [token for token, places in sorted(holders.items(), key=lambda item: -len(item[1])) if len(places) < len(rows) and min(places) >= 1][:2]
    assert len(counts) >= 10
    return Tokens(ends, [token for token, _ in counts.most_common() if token not in ends])
