"""Tiny checkpoints of every model type and task that is an encoder and a head: random weights whose outputs say something, and a tokenizer of whole words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zen_edge.benchmarks.tiny import PAD, SIZES, WORDS, known_sizes, spread_weights, word_names

CLS, SEP, MASK = 0, 2, 4
LABELS = 5  # more than a chance hit

# Beside those of tiny.py, what configurations of encoders call their sizes.
ENCODER_SIZES = {name: size for name, size in SIZES.items() if not name.startswith("relative_attention_")} | {  # MPNet counts on 32 buckets of these
    **dict.fromkeys(("n_layers", "n_layer", "encoder_num_hidden_layers"), 2),
    **dict.fromkeys(("n_heads", "n_head"), 4),
    **dict.fromkeys(("dim", "emb_dim", "embedding_size", "d_embed"), 32),
    **dict.fromkeys(("hidden_dim", "d_inner", "ffn_dim"), 48),
    "local_attention": 6,
    "sliding_window": 6,
    "global_attn_every_n_layers": 2,
    "pooler_hidden_size": 32,
    "max_relative_positions": 16,
    "position_buckets": 8,
    "type_vocab_size": 2,
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "default_language": "en_XX",
}
SPECIAL = {
    "pad_token_id": PAD,
    "bos_token_id": CLS,
    "eos_token_id": SEP,
    "cls_token_id": CLS,
    "sep_token_id": SEP,
    "mask_token_id": MASK,
    "decoder_start_token_id": SEP,
}


def tasks_of(model_type: str) -> list[str]:
    from zen_edge.exporters.encoders import CLASSES

    return [task for task, (_, types) in CLASSES.items() if model_type in types or task == "text-embedding"]


def tiny_config(model_type: str, task: str, **changes: Any) -> Any:
    from transformers import AutoConfig

    kind = type(AutoConfig.for_model(model_type))
    return kind(**{**known_sizes(kind, ENCODER_SIZES), **SPECIAL, "num_labels": 2 if task == "question-answering" else LABELS, **changes})


def tiny_encoder(model_type: str, task: str, seed: int = 1, loudness: float = 1.5, **changes: Any) -> Any:
    import torch

    from zen_edge.exporters.encoders import class_of

    torch.manual_seed(seed)
    config = tiny_config(model_type, task, **changes)
    return spread_weights(class_of(task, config).from_config(config).eval(), loudness=loudness, spread=1.0)


def tiny_pair_tokenizer(*, types: bool = True) -> Any:
    """Whole words between special tokens, one text or two. types: whether it tells which of the two a token is of."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}
    names = word_names(list(special.values()))
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(names)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ends = [("<s>", CLS), ("</s>", SEP)]
    backend.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=ends)
    inputs = ["input_ids", *(["token_type_ids"] if types else []), "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_input_names=inputs, **special)


def write_tiny_encoder(folder: Path, model_type: str, task: str, tokenizer: Any = None, **changes: Any) -> Any:
    """A checkpoint in Hugging Face layout; returns its model."""
    if tokenizer is not None:
        changes = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id} | changes
    model = tiny_encoder(model_type, task, **changes)
    model.save_pretrained(folder)
    (tokenizer or tiny_pair_tokenizer()).save_pretrained(folder)
    return model


__all__ = ["LABELS", "WORDS", "tasks_of", "tiny_config", "tiny_encoder", "tiny_pair_tokenizer", "write_tiny_encoder"]
