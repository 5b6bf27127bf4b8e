"""Tiny checkpoints of the encoder-decoders that hear whole utterances: random weights that say different words, extractors and tokenizers made here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zen_edge.benchmarks.make_speech import SENTENCES
from zen_edge.benchmarks.tiny_speech import most_different

TYPES = {"moonshine": "MoonshineForConditionalGeneration", "speech_to_text": "Speech2TextForConditionalGeneration"}
PAD, BOS, EOS, UNKNOWN = 1, 0, 2, 3
PIECES = 200
MELS = 16
LANGUAGES = ("pt", "fr", "ru", "nl", "ro", "it", "es", "de")  # of MuST-C, in transformers' order
DIFFERENT, NEW_TOKENS, SEEDS = 8, 24, 16  # words that each of two sounds must give, of so many; models that are tried for it

SIZES: dict[str, dict[str, Any]] = {
    "moonshine": {
        "hidden_size": 48,
        "intermediate_size": 64,
        **dict.fromkeys(("encoder_num_hidden_layers", "decoder_num_hidden_layers"), 2),
        **dict.fromkeys(("encoder_num_attention_heads", "decoder_num_attention_heads"), 4),
        "pad_head_dim_to_multiple_of": 8,  # as published: heads are no multiple of it
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.9},
    },
    "speech_to_text": {
        "d_model": 32,
        **dict.fromkeys(("encoder_layers", "decoder_layers"), 2),
        **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
        **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 48),
        "conv_channels": 48,
        "input_feat_per_channel": MELS,
        "max_source_positions": 1500,
        "max_target_positions": 128,
    },
}


def write_tiny_utterances(folder: Path, model_type: str, seed: int = 1, *, languages: bool = False, **changes: Any) -> Any:
    """A checkpoint in Hugging Face layout, of which a made-up sound makes different words; returns the model. languages: of Speech2Text, as a translator of speech has them."""
    from transformers import Speech2TextFeatureExtractor, Wav2Vec2FeatureExtractor

    from zen_edge.sounds import voice

    folder.mkdir(parents=True, exist_ok=True)
    words = _write_tokenizer(folder) if model_type == "moonshine" else _write_piece_tokenizer(folder, languages)
    if model_type == "moonshine":
        extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    else:
        extractor = Speech2TextFeatureExtractor(feature_size=MELS, num_mel_bins=MELS)
    sounds = [extractor(voice(32000, 16000, number), sampling_rate=16000, return_tensors="pt") for number in (0, 1)]

    def said(model: Any) -> int:
        return min(len(set(model.generate(**inputs)[0].tolist())) for inputs in sounds)

    model = most_different(lambda each: _model(model_type, words, each, changes), said, range(seed, seed + SEEDS), DIFFERENT)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return model


def _model(model_type: str, words: int, seed: int, changes: dict[str, Any]) -> Any:
    import torch
    import transformers
    from transformers import GenerationConfig

    special = {"pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS, "decoder_start_token_id": BOS if model_type == "moonshine" else EOS}
    torch.manual_seed(seed)
    kind = getattr(transformers, TYPES[model_type])
    model = kind(kind.config_class(vocab_size=words, **special, **(SIZES[model_type] | changes))).eval()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.dim() == 1:
                weights.uniform_(0.5, 1.5) if "norm" in name and name.endswith("weight") else weights.normal_(0, 0.1)
            elif "embed_tokens" in name:
                weights.normal_(0, 1.0 if model_type == "moonshine" else 0.1)  # Speech2Text scales them, and a louder start says itself again
            else:
                gain = 3.0 if "q_proj" in name or "k_proj" in name else 1.5
                weights.normal_(0, gain * weights[0].numel() ** -0.5)
    model.generation_config = GenerationConfig(**special, max_length=NEW_TOKENS + 1)
    return model


def _write_tokenizer(folder: Path) -> int:
    """Of Moonshine: byte pairs of the `tokenizers` library, with a mark before each word; returns the number of pieces."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    letters = sorted({letter for text in SENTENCES for letter in text} - {" "})
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", *letters, *(f"▁{letter}" for letter in letters)]
    merges = [("▁", letter) for letter in letters]
    backend = Tokenizer(models.BPE({piece: id for id, piece in enumerate(pieces)}, merges, unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    backend.add_special_tokens([AddedToken(piece, special=True) for piece in pieces[:4]])
    backend.save(str(folder / "tokenizer.json"))
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 10**30, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return len(pieces)


def _write_piece_tokenizer(folder: Path, languages: bool) -> int:
    """Of Speech2Text: sentencepiece trained on a few sentences, and vocab.json; returns the number of pieces."""
    from sentencepiece import SentencePieceTrainer

    codes = [f"<lang:{code}>" for code in LANGUAGES] if languages else []
    SentencePieceTrainer.train(
        sentence_iterator=iter(text.lower() for text in SENTENCES),
        model_prefix=str(folder / "sentencepiece.bpe"),
        model_type="bpe",
        vocab_size=PIECES,
        **{"bos_id": BOS, "pad_id": PAD, "eos_id": EOS, "unk_id": UNKNOWN},
        user_defined_symbols=codes,
        minloglevel=2,
    )
    (folder / "sentencepiece.bpe.vocab").unlink()
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor(model_file=str(folder / "sentencepiece.bpe.model"))
    words = {pieces.id_to_piece(id): id for id in range(pieces.get_piece_size())}
    (folder / "vocab.json").write_text(json.dumps(words), encoding="utf-8")
    settings = {"tokenizer_class": "Speech2TextTokenizer", "do_lower_case": True, "do_upper_case": False}
    settings |= {"lang_codes": "mustc", "tgt_lang": "fr"} if languages else {}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return len(words)
