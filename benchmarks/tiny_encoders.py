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
    **dict.fromkeys(("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"), 8),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank"), 16),
    **dict.fromkeys(("n_routed_experts", "num_local_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "n_group", "topk_group"), 2),
    "moe_intermediate_size": 16,
    "n_embd": 32,
    "n_positions": 128,
}
LATENT = {"num_key_value_heads": 4}  # as many as heads, where all are made of one latent
HALVES = ["linear_attention", "full_attention"]
# What the sizes of one type need besides, so that they go together.
OF_TYPE: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("axk1", "axk2", "deepseek_v2", "deepseek_v3", "esmc", "minicpm3", "mistral4"), LATENT),
    **{name: {"layer_types": HALVES} for name in ("qwen3_5_text", "qwen3_next")},
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10000.0}}},
    "ctrl": {"dff": 48},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gptj": {"rotary_dim": 4},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lilt": {"hidden_size": 48},
    "luke": {"entity_vocab_size": 20, "entity_emb_size": 16},
    "neomme": {"head_dim": 16},
    "perceiver": {"d_latents": 32, "num_latents": 8, "num_self_attends_per_block": 2, "num_self_attention_heads": 4, "num_cross_attention_heads": 4},
    "zamba": {"num_hidden_layers": 4, "layers_block_type": ["linear_attention", "hybrid"] * 2, "mamba_dt_rank": 4},
    "zamba2": {"layers_block_type": ["linear_attention", "hybrid"], "n_mamba_heads": 4, "mamba_d_state": 8, "chunk_size": 4, "adapter_rank": 4},
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

    return _tiny(AutoConfig.for_model(model_type), {"num_labels": 2 if task == "question-answering" else LABELS, **changes})


def _tiny(plain: Any, changes: dict[str, Any]) -> Any:
    """A configuration of the kind of `plain`, and of what it is made of, with tiny sizes."""
    kind = type(plain)
    parts = {name: _tiny(part, changes) for name in kind.sub_configs if (part := getattr(plain, name, None)) is not None}
    return kind(**{**known_sizes(kind, ENCODER_SIZES), **SPECIAL, **parts, **OF_TYPE.get(kind.model_type, {}), **changes})


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
