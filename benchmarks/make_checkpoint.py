"""Writes checkpoints of real sizes with random weights: what they say is noise, how fast they say it is not.

python -m zen_edge.benchmarks.make_checkpoint OUT [--shape marian-74m]
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zen_edge.demo import shipped_model

PAD = 58100  # of Marian; its vocabulary ends there


@dataclass(frozen=True)
class Shape:
    """sizes: of the configuration of `model_type`. tokenizer: writes its files into a folder, for the model it is given, and what else a checkpoint of it
    holds. kind: which of transformers' AutoModelFor... it is."""

    model_type: str
    sizes: dict[str, Any]
    tokenizer: Callable[[Path, Any], None]
    kind: str = "Seq2SeqLM"

    def model(self) -> Any:
        """With transformers' own first weights, ready to be evaluated."""
        import transformers

        config = transformers.AutoConfig.for_model(self.model_type, **self.sizes)
        return getattr(transformers, f"AutoModelFor{self.kind}").from_config(config).eval()


def write(out: Path, shape: str = "marian-74m", seed: int = 0) -> None:
    """A checkpoint in Hugging Face layout, with a tokenizer made of the shipped model's words; words up to the vocabulary's size are made up."""
    write_shape(out, SHAPES[shape], seed)


def write_shape(out: Path, shape: Shape, seed: int = 0, stored: str = "float32", shard: str = "50GB") -> None:
    """stored: the type of its numbers in safetensors, each file of `shard` at most; "bin": float32 in a pytorch_model.bin."""
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = shape.model()
    randomize(model, seed)
    if stored == "bin":
        out.mkdir(parents=True, exist_ok=True)
        model.config.save_pretrained(out)
        torch.save(model.state_dict(), out / "pytorch_model.bin")
    else:
        model.to(getattr(torch, stored)).save_pretrained(out, max_shard_size=shard)
    shape.tokenizer(out, model)


def randomize(model: Any, seed: int) -> None:
    """Weights with which greedy search says other words all the time, as a trained model does: transformers' own random ones repeat one word.

    Every word must leave its mark: attention, which averages words, adds less than it would, and the feed-forward layers more; what an activation
    adds on average, the same for every word, is taken out.
    """
    import torch

    gains = {"out_proj": 0.3, "o": 0.3, "fc1": 3.0, "fc2": 3.0, "wi": 3.0, "wo": 3.0}
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            layer = name.split(".")[-2]
            if (
                weights.dim() == 1 or not weights.requires_grad or "original0" in name
            ):  # gains and biases, positions that are sines, lengths of a weight norm
                continue
            if isinstance(model.get_submodule(name.rpartition(".")[0]), torch.nn.Embedding):
                weights.normal_(0, 0.1)
                continue
            weights.normal_(0, gains.get(layer, 1.0) * weights[0].numel() ** -0.5)
            if layer == "q":  # of T5, which divides no score by the root of the head size
                weights *= model.config.d_kv**-0.5
            if layer in ("fc2", "wo"):
                weights -= weights.mean(-1, keepdim=True)


def marian_tokenizer(out: Path, model: Any) -> None:
    """The shipped model's own, with a longer word list."""
    config, shipped = model.config, shipped_model()
    words = {word: id for word, id in _shipped_words().items() if word != "<pad>"}
    words |= {f"▁w{id}": id for id in range(len(words), config.pad_token_id)} | {"<pad>": config.pad_token_id}
    (out / "vocab.json").write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
    for name in ("source.spm", "target.spm"):
        shutil.copy(shipped / name, out)
    settings = json.loads((shipped / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["model_max_length"] = config.max_position_embeddings
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def bart_tokenizer(out: Path, model: Any) -> None:
    """Byte-level BPE, trained on the shipped model's words, in the two files and the class that every library knows."""
    from tokenizers import ByteLevelBPETokenizer

    config, bpe = model.config, ByteLevelBPETokenizer()
    texts = (word.replace("▁", " ") for word in _shipped_words() if not word.startswith("<"))
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    bpe.train_from_iterator(texts, vocab_size=config.vocab_size - 1, min_frequency=1, special_tokens=special, show_progress=False)
    bpe.save_model(str(out))
    words = json.loads((out / "vocab.json").read_text(encoding="utf-8"))
    words |= {f"Ġw{id}": id for id in range(len(words), config.vocab_size - 1)} | {"<mask>": config.vocab_size - 1}
    (out / "vocab.json").write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
    _settings(out, tokenizer_class="BartTokenizer", model_max_length=config.max_position_embeddings, mask_token="<mask>", bos_token="<s>")


def t5_tokenizer(out: Path, model: Any) -> None:
    """A unigram model with the shipped model's pieces and their scores, as tokenizer.json; 100 places for masked spans end the vocabulary."""
    from sentencepiece import SentencePieceProcessor
    from transformers import T5TokenizerFast

    pieces = SentencePieceProcessor(model_file=str(shipped_model() / "source.spm"))
    scored = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    taken = {piece for piece, _ in scored}
    for id in range(pieces.get_piece_size()):
        if (piece := pieces.id_to_piece(id)) not in taken and not pieces.is_control(id):
            scored.append((piece, pieces.get_score(id)))
    scored += [(f"▁w{id}", -100.0) for id in range(len(scored), T5_WORDS)]
    T5TokenizerFast(vocab=scored, extra_ids=T5_SPANS, model_max_length=512).save_pretrained(out)
    settings = json.loads((out / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["additional_special_tokens"] = settings.pop("extra_special_tokens")  # the name that transformers 4, of other engines, knows too
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def whisper_files(out: Path, model: Any) -> None:
    """The feature extractor, a tokenizer with as many words and the special tokens where the published ones have them, and generation settings."""
    from transformers import WhisperFeatureExtractor
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    from zen_edge.benchmarks.tiny_whisper import generation_config, write_tokenizer

    languages = list(LANGUAGES)[:WHISPER_LANGUAGES]
    ids = write_tokenizer(out, languages, WHISPER_WORDS)
    generation_config(model.config, ids, languages, max_length=model.config.max_target_positions).save_pretrained(out)
    WhisperFeatureExtractor(feature_size=model.config.num_mel_bins).save_pretrained(out)


def wav2vec2_files(out: Path, model: Any) -> None:
    """The feature extractor, and a tokenizer of letters."""
    from zen_edge.benchmarks.tiny_speech import extractor_of, write_tokenizer

    write_tokenizer(out)
    extractor_of("wav2vec2", model).save_pretrained(out)


def bert_tokenizer(out: Path, model: Any) -> None:
    """WordPiece: the shipped model's words, and every character within a word."""
    from transformers import BertTokenizer

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    known = [word.removeprefix("▁").lower() for word in _shipped_words() if word.isprintable() and not word.startswith("<")]
    characters = sorted({character for word in known for character in word})
    words = [*dict.fromkeys([*special, *characters, *(f"##{character}" for character in characters), *filter(None, known)])][
        : model.config.vocab_size
    ]
    words += [f"[unused{id}]" for id in range(model.config.vocab_size - len(words))]
    tokenizer = BertTokenizer(vocab={word: id for id, word in enumerate(words)}, model_max_length=model.config.max_position_embeddings)
    tokenizer.save_pretrained(out)


def _shipped_words() -> dict[str, int]:
    words: dict[str, int] = json.loads((shipped_model() / "vocab.json").read_text(encoding="utf-8"))
    return words


def _settings(out: Path, **settings: Any) -> None:
    common = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    (out / "tokenizer_config.json").write_text(json.dumps(common | settings, indent=2) + "\n", encoding="utf-8")


T5_WORDS, T5_SPANS = 32000, 100
WHISPER_WORDS, WHISPER_LANGUAGES = 50257, 99
SHAPES = {
    # As OPUS-MT publishes them: 74 M parameters.
    "marian-74m": Shape(
        "marian",
        {
            "vocab_size": PAD + 1,
            "d_model": 512,
            "encoder_layers": 6,
            "decoder_layers": 6,
            "encoder_ffn_dim": 2048,
            "decoder_ffn_dim": 2048,
            "encoder_attention_heads": 8,
            "decoder_attention_heads": 8,
            "activation_function": "swish",
            "scale_embedding": True,
            "static_position_embeddings": True,
            "max_position_embeddings": 512,
            "pad_token_id": PAD,
            "eos_token_id": 0,
            "bos_token_id": 0,
            "decoder_start_token_id": PAD,
            "forced_eos_token_id": 0,
        },
        marian_tokenizer,
    ),
    # 139 M parameters.
    "bart-base": Shape(
        "bart",
        {
            "vocab_size": 50265,
            "d_model": 768,
            "encoder_layers": 6,
            "decoder_layers": 6,
            "encoder_ffn_dim": 3072,
            "decoder_ffn_dim": 3072,
            "encoder_attention_heads": 12,
            "decoder_attention_heads": 12,
            "max_position_embeddings": 1024,
            "forced_eos_token_id": 2,
        },
        bart_tokenizer,
    ),
    # Version 1.0: relu, one table for both sides and the head. 223 M parameters.
    "t5-base": Shape(
        "t5",
        {"vocab_size": 32128, "d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12, "decoder_start_token_id": 0},
        t5_tokenizer,
    ),
    # 242 M parameters.
    "whisper-small": Shape(
        "whisper",
        {
            "vocab_size": WHISPER_WORDS + WHISPER_LANGUAGES + 1509,
            "d_model": 768,
            **dict.fromkeys(("encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads"), 12),
            **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 3072),
            **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), WHISPER_WORDS),
            "decoder_start_token_id": WHISPER_WORDS + 1,
        },
        whisper_files,
        "SpeechSeq2Seq",
    ),
    # 94 M parameters; transformers' own sizes are those of base.
    "wav2vec2-base": Shape("wav2vec2", {"vocab_size": 32}, wav2vec2_files, "CTC"),
    # 109 M parameters.
    "bert-base": Shape("bert", {"vocab_size": 30522}, bert_tokenizer, "TextEncoding"),
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a checkpoint of a real size with random weights.")
    parser.add_argument("out", type=Path, help="a folder")
    parser.add_argument("--shape", choices=SHAPES, default="marian-74m")
    given = parser.parse_args()
    write(given.out, given.shape)
