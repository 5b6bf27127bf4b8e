"""Whisper models with random weights that say many words, and checkpoints of them with a tokenizer made here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "fr", "ja")
TEXT = 300  # tokens of text: bytes, and a few pairs of them
TIMES = 1501


def write_tokenizer(folder: Path, languages: Sequence[str] = LANGUAGES, text: int = TEXT) -> dict[str, int]:
    """tokenizer.json and its settings, with so many tokens of text; returns the special tokens by name, the size of the vocabulary under ""."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    pairs = [(a, b) for a in "Ġthesa" for b in "etaoinsr"][: TEXT - len(letters)]
    unused = map("".join, islice(product(letters[:60], repeat=3), max(0, text - TEXT)))
    vocab = {word: id for id, word in enumerate([*letters, *(a + b for a, b in pairs), *unused])}
    backend = Tokenizer(models.BPE(vocab, pairs))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    names = [
        "<|endoftext|>",
        "<|startoftranscript|>",
        *(f"<|{code}|>" for code in languages),
        "<|translate|>",
        "<|transcribe|>",
        "<|startoflm|>",
        "<|startofprev|>",
    ]
    names += ["<|nospeech|>", "<|notimestamps|>"]
    backend.add_special_tokens([AddedToken(name, special=True) for name in names])
    backend.add_tokens([AddedToken(f"<|{i * 0.02:.2f}|>", special=False) for i in range(TIMES)])
    folder.mkdir(parents=True, exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    end = names[0]
    settings = {
        "tokenizer_class": "WhisperTokenizer",
        "bos_token": end,
        "eos_token": end,
        "pad_token": end,
        "unk_token": end,
        "model_max_length": 448,
    }
    settings["extra_special_tokens"] = names[1:]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return {name: backend.token_to_id(name) for name in names} | {"": backend.get_vocab_size()}


def generation_config(config: Any, ids: dict[str, int], languages: Sequence[str], **settings: Any) -> Any:
    """ids: as `write_tokenizer` returns them. languages: none of a model that hears English only."""
    from transformers import GenerationConfig

    never = (ids["<|startoftranscript|>"], *(ids[f"<|{name}|>"] for name in ("translate", "transcribe", "startoflm", "startofprev", "nospeech")))
    if languages:
        settings["lang_to_id"] = {f"<|{code}|>": ids[f"<|{code}|>"] for code in languages}
        settings["task_to_id"] = {task: ids[f"<|{task}|>"] for task in ("transcribe", "translate")}
    return GenerationConfig(
        **{name: getattr(config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")},
        is_multilingual=bool(languages),
        no_timestamps_token_id=ids["<|notimestamps|>"],
        prev_sot_token_id=ids["<|startofprev|>"],
        max_initial_timestamp_index=50,
        begin_suppress_tokens=[220, ids["<|endoftext|>"]],
        suppress_tokens=[1, 7, *never],
        return_timestamps=False,
        **settings,
    )


def write_tiny_whisper(
    folder: Path, seed: int = 1, *, multilingual: bool = True, languages: Sequence[str] | None = None, text: int = TEXT, **changes: Any
) -> Any:
    """A checkpoint in Hugging Face layout; returns the model. Windows are of 30 s, as of every Whisper. languages: that the vocabulary has tokens for; those of
    OpenAI's English models have them too."""
    import torch
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    languages = (LANGUAGES if multilingual else ()) if languages is None else languages
    ids = write_tokenizer(folder, languages, text)
    end, start = ids["<|endoftext|>"], ids["<|startoftranscript|>"]
    special = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": start}
    sizes = {"d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
    sizes |= {"encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "num_mel_bins": 80, "max_target_positions": 64} | changes
    torch.manual_seed(seed)
    model = WhisperForConditionalGeneration(WhisperConfig(vocab_size=ids[""], **special, **sizes)).eval()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "embed_positions" in name:
                if "decoder" in name:
                    weights.normal_(0, 0.5)
            elif "layer_norm.weight" in name:
                weights.uniform_(0.5, 1.5)
            elif weights.dim() == 1:
                weights.normal_(0, 0.1)
            elif "embed_tokens" in name:
                weights.normal_(0, 0.5)
            else:
                gain = 3.0 if "q_proj" in name or "k_proj" in name else 1.5
                weights.normal_(0, gain * weights[0].numel() ** -0.5)
    heads = [[model.config.decoder_layers - 1, 0], [model.config.decoder_layers - 1, 2]]
    told = languages if multilingual else ()
    model.generation_config = generation_config(model.config, ids, told, max_length=64, alignment_heads=heads)
    model.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=model.config.num_mel_bins).save_pretrained(folder)
    return model
