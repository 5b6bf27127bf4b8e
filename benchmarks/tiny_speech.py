"""Tiny checkpoints of every model type that AutoModelForCTC loads: random weights that say different letters, their feature extractor and a tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

LETTERS = "ETAONIHSRDLUMWCFGYPBVKXJQZ'"
FEATURES = 16  # bands of those that read log-mel frames
DIFFERENT = 8  # letters that two seconds of noise must give

# What configurations call their sizes; each takes those that it knows.
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16, 16, 16),
    "conv_kernel": (10, 8, 4),
    "conv_stride": (10, 8, 4),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "conv_pos_kernel_size": 7,
    "num_conv_pos_embedding_layers": 2,
    "layerdrop": 0.0,
    "squeeze_factor": 2,
    "num_codevectors_per_group": 4,
    "codevector_dim": 8,
    "proj_codevector_dim": 8,
    "feature_projection_input_dim": 2 * FEATURES,
    "conv_depthwise_kernel_size": 5,
    "conv_kernel_size": 5,
    "num_mel_bins": FEATURES,
    "subsampling_conv_channels": 8,
}


def model_types() -> dict[str, str]:
    """Every model type that AutoModelForCTC loads in the installed transformers, and the class it becomes."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CTC_MAPPING_NAMES

    return dict(MODEL_FOR_CTC_MAPPING_NAMES)


def tiny_config(model_type: str, vocab_size: int, **changes: Any) -> Any:
    from transformers import AutoConfig

    whole = AutoConfig.for_model(model_type)
    if hasattr(whole, "encoder_config"):
        encoder = type(whole.encoder_config)(**_known(whole.encoder_config, SIZES | changes))
        return type(whole)(encoder_config=encoder.to_dict(), vocab_size=vocab_size, pad_token_id=0)
    return type(whole)(**_known(whole, SIZES | {"vocab_size": vocab_size, "pad_token_id": 0} | changes))


def _known(config: Any, sizes: dict[str, Any]) -> dict[str, Any]:
    # A convolution among SEW-D's layers comes with a size that others have as well.
    names = set(config.to_dict()) - ({"conv_kernel_size"} if hasattr(config, "squeeze_factor") else set())
    return {name: value for name, value in sizes.items() if name in names}


def tiny_model(model_type: str, vocab_size: int, seed: int = 1, **changes: Any) -> Any:
    """Random weights, twice as large for queries and keys."""
    import torch
    import transformers

    torch.manual_seed(seed)
    model = getattr(transformers, model_types()[model_type])(tiny_config(model_type, vocab_size, **changes)).eval()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.dim() == 1:
                weights.uniform_(0.5, 1.5) if "norm" in name.lower() and name.endswith("weight") else weights.normal_(0, 0.1)
            elif "original0" not in name:  # of a weight norm
                inputs = weights[0].numel()
                gain = 2.0 if any(part in name for part in ("q_proj", "k_proj", "linear_q", "linear_k", "query", "key")) else 1.0
                weights.normal_(0, gain * inputs**-0.5)
        for name, weights in model.named_parameters():
            if name.startswith(("lm_head", "ctc_head")) and weights.dim() > 1:
                weights.normal_(0, 4 * weights[0].numel() ** -0.5)
    return model


def extractor_of(model_type: str, model: Any) -> Any:
    import transformers

    kinds = {
        "wav2vec2-bert": (transformers.SeamlessM4TFeatureExtractor, {"feature_size": FEATURES, "num_mel_bins": FEATURES}),
        "parakeet_ctc": (transformers.ParakeetFeatureExtractor, {"feature_size": FEATURES}),
        "lasr_ctc": (transformers.LasrFeatureExtractor, {"feature_size": FEATURES}),
    }
    kind, settings = kinds.get(model_type, (transformers.Wav2Vec2FeatureExtractor, {"do_normalize": True, "return_attention_mask": False}))
    return kind(**settings)


def write_tokenizer(folder: Path) -> int:
    """Wav2Vec2CTCTokenizer's files; returns the number of words."""
    words = ["<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: id for id, word in enumerate(words)}), encoding="utf-8")
    settings = {"tokenizer_class": "Wav2Vec2CTCTokenizer", "word_delimiter_token": "|", "pad_token": "<pad>", "do_lower_case": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return len(words)


def write_piece_tokenizer(folder: Path, name: str) -> int:
    """The files of a tokenizer of word pieces, ParakeetTokenizer's or LasrTokenizer's; returns the number of pieces."""
    from tokenizers import Tokenizer, decoders, models

    pieces = ["<pad>", "<unk>", *(f"▁{letter}" for letter in LETTERS.lower()), *LETTERS.lower()]
    backend = Tokenizer(models.BPE({piece: id for id, piece in enumerate(pieces)}, [], unk_token="<unk>"))
    backend.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    folder.mkdir(parents=True, exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": name, "pad_token": "<pad>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return len(pieces)


def write_tiny_ctc(folder: Path, model_type: str, **changes: Any) -> Any:
    """A checkpoint in Hugging Face layout whose model gives different letters for noise; returns the model."""
    import torch

    pieces = {"parakeet_ctc": "ParakeetTokenizer", "lasr_ctc": "ParakeetTokenizer"}
    words = write_piece_tokenizer(folder, pieces[model_type]) if model_type in pieces else write_tokenizer(folder)
    noise = torch.randn(32000, generator=torch.Generator().manual_seed(1)).mul(0.1).numpy()

    def said(model: Any) -> int:
        features = extractor_of(model_type, model)(noise, sampling_rate=16000, return_tensors="pt")[model.main_input_name]
        return len(set(model(**{model.main_input_name: features}).logits.argmax(-1).flatten().tolist()))

    model = most_different(lambda seed: tiny_model(model_type, words, seed, **changes), said, range(1, 9), DIFFERENT)
    model.save_pretrained(folder)
    extractor_of(model_type, model).save_pretrained(folder)
    return model


def most_different(make: Callable[[int], Any], said: Callable[[Any], int], seeds: Iterable[int], enough: int) -> Any:
    """Of models with weights of different seeds the first that says `enough` different words, or the one that says most."""
    import torch

    most: tuple[int, Any] = (-1, None)
    for seed in seeds:
        model = make(seed)
        with torch.no_grad():
            most = max(most, (said(model), model), key=lambda pair: pair[0])
        if most[0] >= enough:
            break
    return most[1]
