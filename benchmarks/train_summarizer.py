"""Trains the summarizer that ships in zen_edge/data/bart-summaries: a long description of a software package in, its one-line synopsis out.

    python -m zen_edge.benchmarks.train_summarizer DATA OUT --minutes 90             # from the shipped translator's weights
    python -m zen_edge.benchmarks.train_summarizer DATA OUT --minutes 30 --resume    # go on from the checkpoint in OUT
    python -m zen_edge.benchmarks.train_summarizer DATA OUT --ship FOLDER            # only write what is in OUT as float16

DATA: JSON lines, gzip, with "document", "summary" and "split" ("train" or "test"); test rows are never read. OUT: a checkpoint folder.

A BART of 6.7 M parameters: width 256, 3 encoder and 2 decoder layers, a byte-level BPE vocabulary of 8,000 words trained on the same text.
Weights begin as the shipped English to French translator's, which has the same layers: it can read English and look at its source already. A word
begins as the mean of its translator pieces; swish becomes gelu through x*sigmoid(x) ~ 1.702*gelu(x/1.702); positions begin as sinusoids.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import random
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import BartConfig, BartForConditionalGeneration, BartTokenizerFast, MarianMTModel, MarianTokenizer

from zen_edge.demo import shipped_model

PAD, BOS, EOS = 1, 0, 2
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
WORDS, POSITIONS, WIDTH = 8000, 512, 256
LONGEST_SUMMARY = 48
GELU = 1.702

Row = tuple[list[int], list[int]]


def read(data: Path) -> list[tuple[str, str]]:
    with gzip.open(data, "rt", encoding="utf8") as file:
        rows = [json.loads(line) for line in file]
    return [(row["document"], row["summary"]) for row in rows if row["split"] == "train"]


def make_tokenizer(pairs: list[tuple[str, str]], out: Path) -> BartTokenizerFast:
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator((text for pair in pairs for text in pair), vocab_size=WORDS, special_tokens=list(SPECIAL), show_progress=False)
    bpe.save_model(str(out))
    return BartTokenizerFast(vocab=str(out / "vocab.json"), merges=str(out / "merges.txt"), model_max_length=POSITIONS)


def config() -> BartConfig:
    sizes: dict[str, Any] = {
        f"{side}_{part}": value for side in ("encoder", "decoder") for part, value in (("ffn_dim", 1024), ("attention_heads", 4))
    }
    return BartConfig(
        vocab_size=WORDS,
        d_model=WIDTH,
        encoder_layers=3,
        decoder_layers=2,
        max_position_embeddings=POSITIONS,
        dropout=0.1,
        activation_function="gelu",
        scale_embedding=True,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
        decoder_start_token_id=EOS,
        forced_bos_token_id=None,
        forced_eos_token_id=EOS,
        **sizes,
    )


@torch.no_grad()
def from_translator(model: BartForConditionalGeneration, tokenizer: BartTokenizerFast) -> None:
    translator = MarianMTModel.from_pretrained(shipped_model(), dtype=torch.float32)
    pieces = MarianTokenizer.from_pretrained(shipped_model())
    theirs, ours = translator.state_dict(), model.state_dict()
    for name, tensor in theirs.items():
        if ".layers." in name:
            scale = {"fc1.weight": 1 / GELU, "fc1.bias": 1 / GELU, "fc2.weight": GELU}.get(".".join(name.split(".")[-2:]), 1.0)
            ours[name].copy_(tensor * scale)
    table = theirs["model.shared.weight"]
    words = model.model.shared.weight
    for id in range(len(SPECIAL), WORDS):
        text = tokenizer.decode([id])
        ids = [piece for piece in pieces(text.strip())["input_ids"][:-1] if piece != pieces.unk_token_id]
        if ids:
            words[id] = table[ids].mean(0) * len(ids) ** 0.5  # as long as one piece
        else:
            torch.nn.init.normal_(words[id], std=WIDTH**-0.5)
    words[EOS] = table[pieces.eos_token_id]
    words[PAD] = 0
    angles = torch.arange(POSITIONS)[:, None] / 10000 ** (torch.arange(WIDTH // 2) * 2 / WIDTH)
    for side in (model.model.encoder, model.model.decoder):
        side.embed_positions.weight[2:] = torch.cat([angles.sin(), angles.cos()], 1)
        side.layernorm_embedding.weight.fill_(1.2)


def padded(rows: list[list[int]], value: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])


def epoch(encoded: list[Row], batch_tokens: int) -> list[list[Row]]:
    """Batches of like length in random order."""
    order = random.sample(encoded, len(encoded))
    batches: list[list[Row]] = []
    for start in range(0, len(order), 4000):
        batch: list[Row] = []
        for row in sorted(order[start : start + 4000], key=lambda row: len(row[0])):
            if batch and len(row[0]) * (len(batch) + 1) > batch_tokens:
                batches.append(batch)
                batch = []
            batch.append(row)
        batches.append(batch)
    return random.sample(batches, len(batches))


def loss_of(model: BartForConditionalGeneration, batch: list[Row], autocast: bool) -> torch.Tensor:
    source, target = padded([row[0] for row in batch], PAD), padded([row[1] for row in batch], -100)
    start = torch.full((len(batch), 1), EOS)
    shifted = torch.cat([start, target[:, :-1].masked_fill(target[:, :-1] == -100, PAD)], 1)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = model(input_ids=source, attention_mask=(source != PAD).long(), decoder_input_ids=shifted).logits
    return torch.nn.functional.cross_entropy(logits.float().view(-1, WORDS), target.view(-1), ignore_index=-100, label_smoothing=0.1)


def train(data: Path, out: Path, minutes: float, *, resume: bool, lr: float, threads: int, batch_tokens: int, longest: int, autocast: bool) -> None:
    torch.manual_seed(1)
    random.seed(1)
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    pairs = read(data)
    if resume:
        tokenizer = BartTokenizerFast.from_pretrained(out)
        model = BartForConditionalGeneration.from_pretrained(out, dtype=torch.float32)
    else:
        tokenizer = make_tokenizer(pairs, out)
        model = BartForConditionalGeneration(config())
        from_translator(model, tokenizer)
    tokenizer.save_pretrained(out)
    encoded = [([*a[: longest - 1], EOS], b) for a, b in ((tokenizer(a)["input_ids"], tokenizer(b)["input_ids"][1:]) for a, b in pairs)]
    encoded = [(a, b) for a, b in encoded if 1 < len(b) <= LONGEST_SUMMARY]
    model.train()

    def save() -> None:
        model.generation_config.update(
            num_beams=4, max_length=64, min_length=3, no_repeat_ngram_size=3, length_penalty=1.0, early_stopping=True, decoder_start_token_id=EOS
        )
        model.save_pretrained(out)

    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), eps=1e-9, weight_decay=0.01)
    begin = told = time.time()
    step, epochs, average, tokens = 0, 0, None, 0
    while (time.time() - begin) / 60 < minutes:
        for batch in epoch(encoded, batch_tokens):
            fraction = (time.time() - begin) / 60 / minutes
            if fraction >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = lr * min(1, (step + 1) / 300) * (0.02 + 0.49 * (1 + math.cos(math.pi * fraction)))
            loss = loss_of(model, batch, autocast)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
            tokens += sum(len(a) + len(b) for a, b in batch)
            average = loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
            if time.time() - told > 60:
                told = time.time()
                spent = told - begin
                print(f"{spent / 60:.1f} min  epoch {epochs}  step {step}  loss {average:.3f}  {tokens / spent:.0f} tokens/s", flush=True)
                save()
        epochs += 1
    save()


def ship(out: Path, folder: Path) -> None:
    model = BartForConditionalGeneration.from_pretrained(out, dtype=torch.float16)
    model.config.task_specific_params = {"summarization": {"num_beams": model.generation_config.num_beams}}  # says what it is for
    model.save_pretrained(folder)
    BartTokenizerFast.from_pretrained(out).save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf8"))
    kept = {name: value for name, value in settings.items() if name not in ("is_local", "local_files_only")}
    (folder / "tokenizer_config.json").write_text(json.dumps(kept, indent=2) + "\n", encoding="utf8")
    (folder / "model.safetensors").chmod(0o644)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the summarizer that ships with zen-edge.")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=90)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-tokens", type=int, default=2500)
    parser.add_argument("--longest", type=int, default=160, help="ids of a document that are read while training")
    parser.add_argument("--no-autocast", dest="autocast", action="store_false", help="float32 instead of bfloat16 products")
    parser.add_argument("--ship", type=Path, help="a folder: write the checkpoint in OUT there as float16, and train nothing")
    given = vars(parser.parse_args())
    folder = given.pop("ship")
    if folder is not None:
        ship(given["out"], folder)
    else:
        train(given.pop("data"), given.pop("out"), given.pop("minutes"), **given)
