"""Tiny checkpoints of every model type that AutoModelForSeq2SeqLM loads: random weights whose outputs say something, and a tokenizer of whole words."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

from zen_edge.inputs import BUILT_IN

PAD, BOS, EOS, UNKNOWN = 1, 0, 2, 3
LAYERS, HEADS, HEAD_SIZE = 2, 4, 8
WORDS = 320
NEW_TOKENS, DIFFERENT = 16, 20

# What configurations call their sizes; each takes those that it knows.
SIZES = {
    **dict.fromkeys(("vocab_size", "src_vocab_size", "tgt_vocab_size"), WORDS),
    **dict.fromkeys(("d_model", "hidden_size"), 32),
    **dict.fromkeys(("encoder_layers", "num_encoder_layers", "num_layers", "num_hidden_layers"), LAYERS),
    **dict.fromkeys(("decoder_layers", "num_decoder_layers"), LAYERS),
    **dict.fromkeys(("encoder_attention_heads", "num_encoder_attention_heads", "num_heads", "num_attention_heads"), HEADS),
    **dict.fromkeys(("decoder_attention_heads", "num_decoder_attention_heads"), HEADS),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "d_ff", "intermediate_size"), 48),
    **dict.fromkeys(("d_kv", "head_dim"), HEAD_SIZE),
    **dict.fromkeys(("max_position_embeddings", "max_encoder_position_embeddings", "max_decoder_position_embeddings"), 128),
    **dict.fromkeys(("num_key_value_heads", "num_sparse_encoder_layers", "num_sparse_decoder_layers", "num_experts"), 2),
    **dict.fromkeys(("encoder_sparse_step", "decoder_sparse_step"), 2),
    **dict.fromkeys(("encoder_layerdrop", "decoder_layerdrop"), 0.0),
    "num_global_tokens": 4,
    "block_size": 8,
    "global_block_size": 4,
    "local_radius": 4,
    "attention_window": 8,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
}
SPECIAL = {"pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS, "decoder_start_token_id": EOS}


def model_types() -> dict[str, str]:
    """Every model type that AutoModelForSeq2SeqLM loads in the installed transformers, and the class it becomes."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES

    return dict(MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES)


def tiny_config(model_type: str, **changes: Any) -> Any:
    from transformers import AutoConfig, BertConfig, EncoderDecoderConfig

    if model_type == "encoder-decoder":
        sides = [BertConfig(**known_sizes(BertConfig, {**SIZES, **SPECIAL})) for _ in range(2)]
        return EncoderDecoderConfig.from_encoder_decoder_configs(*sides, **SPECIAL, **changes)
    kind = type(AutoConfig.for_model(model_type))
    if {"encoder", "decoder"} <= kind.sub_configs.keys():  # T5Gemma: what `changes` say is for both sides, where these know it
        common = {**SIZES, **SPECIAL, **changes}
        halves = {side: known_sizes(kind.sub_configs[side], common) for side in ("encoder", "decoder")}
        return kind(**halves, **{**known_sizes(kind, SIZES), **SPECIAL, **{name: value for name, value in changes.items() if name in _names(kind)}})
    sizes = known_sizes(kind, SIZES)
    return kind(**{**sizes, **SPECIAL, **changes})


def tiny_model(model_type: str, seed: int = 1, loudness: float = 1.5, spread: float = 1.0, **changes: Any) -> Any:
    """A model with random weights. loudness: how far projections spread what they are given; queries and keys twice as far. spread: of embeddings."""
    import torch
    import transformers

    torch.manual_seed(seed)
    model = spread_weights(getattr(transformers, model_types()[model_type])(tiny_config(model_type, **changes)).eval(), loudness, spread)
    special = {name: changes.get(name, id) for name, id in SPECIAL.items()}
    # No trained model says padding, and some that count positions by it (FSMT) would say another thing after it with a cache than without.
    unsaid = {"suppress_tokens": [special["pad_token_id"]]}
    for name, value in {"max_length": None, "max_new_tokens": NEW_TOKENS, "forced_eos_token_id": None, **special, **unsaid}.items():
        setattr(model.generation_config, name, value)
    return model


def spread_weights(model: Any, loudness: float, spread: float) -> Any:
    """`model` with random weights, see `tiny_model`."""
    import torch

    with torch.no_grad():
        for name, weights in model.named_parameters():
            words = name.replace("_", ".").split(".")
            if weights.dim() == 1:
                weights.uniform_(0.5, 1.5) if name.endswith("weight") else weights.normal_(0, 0.1)
            elif {"embed", "embeddings", "shared", "bias", "head"} & set(words):
                weights.normal_(0, spread)
            else:
                gain = 2.0 if {"q", "k", "query", "key"} & set(words) else 1.0
                gain *= HEAD_SIZE**-0.5 if name.endswith(".q.weight") else 1  # T5 and its kin do not scale scores; their queries are as small
                weights.normal_(0, gain * loudness * weights.shape[-1] ** -0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("final_logits_bias"):
                buffer.normal_(0, 0.5)
    return model


def talkative_model(model_type: str, tokenizer: Any = None, **changes: Any) -> Any:
    """The first of several models that says twenty different words: one that repeats itself would prove nothing about decoding."""
    import torch

    batch = (tokenizer or tiny_tokenizer())([line.source for line in BUILT_IN], padding=True, return_tensors="pt")
    most: tuple[int, Any] = (0, None)
    for seed, loudness, spread in product(range(1, 9), (1.0, 1.5, 3.0), (1.0, 0.2)):
        model = tiny_model(model_type, seed, loudness, spread, **changes)
        with torch.no_grad():
            rows = model.generate(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
        said = len(set(rows.flatten().tolist()))
        if said >= DIFFERENT:
            return model
        most = max(most, (said, model), key=lambda pair: pair[0])
    return most[1]


def tiny_tokenizer() -> Any:
    """Whole words of the built-in lines, and made-up ones up to the vocabulary's size."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = word_names(["<s>", "<pad>", "</s>", "<unk>"])
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(names)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", EOS)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def word_names(special: list[str]) -> list[str]:
    """A vocabulary: special tokens, the words of the built-in lines, and made-up ones."""
    words = dict.fromkeys([*special, *(word for line in BUILT_IN for word in line.source.split())])
    return [*words, *(f"w{i}" for i in range(WORDS - len(words)))]


def write_tiny(folder: Path, model_type: str, tokenizer: Any = None, **changes: Any) -> Any:
    """A checkpoint in Hugging Face layout, with the vocabulary and special tokens of `tokenizer` or of whole words; returns its model."""
    if tokenizer is not None:
        sizes = dict.fromkeys(("vocab_size", "src_vocab_size", "tgt_vocab_size"), len(tokenizer))
        ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "decoder_start_token_id": tokenizer.eos_token_id}
        known = _names(type(tiny_config(model_type)))
        changes = {name: size for name, size in sizes.items() if name in known} | ids | changes
    model = talkative_model(model_type, tokenizer, **changes)
    model.save_pretrained(folder)
    (tokenizer or tiny_tokenizer()).save_pretrained(folder)
    return model


def _names(kind: Any) -> set[str]:
    from dataclasses import fields

    return {field.name for field in fields(kind)}


def known_sizes(kind: Any, sizes: dict[str, Any]) -> dict[str, Any]:
    names = _names(kind)
    return {name: value for name, value in sizes.items() if name in names}
