"""Trains a tiny BERT that answers questions about descriptions of software packages, and writes questions about descriptions that it never read, with their answers.

    python -m zen_edge.benchmarks.train_answerer DATA OUT --minutes 1     # OUT: the checkpoint, and questions.jsonl beside it

DATA: JSON lines, gzip, with "document" and "split" ("train" or "test"). A question asks for what its context names once: a programming language, a protocol, a
format, a number, what the package contains. The answers are marked by looking for such names, not by people: the set tells whether answers are found where they
stand and counted as SQuAD counts them, not how well a model reads. One question in ten has no answer in its context; one context in four is several descriptions,
longer than a window.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForQuestionAnswering, PreTrainedTokenizerFast

KINDS = {
    "Which programming language is it written in or for?": r"\b(?:Python 3|Python|Perl|Java|JavaScript|Ruby|Haskell|PHP|OCaml|Rust|Lua|Erlang|Tcl|Fortran|R)\b",
    "Which protocol does it speak?": r"\b(?:HTTPS?|SSH|FTP|SMTP|IMAP|LDAP|TCP/IP|TCP|UDP|DNS|SSL/TLS|TLS|IRC|XMPP|SNMP|MQTT|NFS)\b",
    "Which format does it read or write?": r"\b(?:XML|JSON|PDF|PNG|HTML|JPEG|YAML|CSV|SVG|LaTeX|MP3|PostScript|TIFF|FASTA|HDF5|Unicode)\b",
    "Which desktop or toolkit is it for?": r"\b(?:GNOME|KDE|Qt|GTK\+|GTK|Xfce|MATE|Emacs|X11|OpenGL|Wayland)",
    "How many, or which version?": r"(?<![\w.-])\d+(?:\.\d+)*(?![\w.-])",
    "What does this package contain?": r"(?<=This package contains )(?:the|a|an) [\w-]+(?: (?!for|of|and|to|in|that|which)[\w-]+)?",
}
SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
WORDS, WIDTH, POSITIONS = 4000, 96, 256
WINDOW = 128  # tokens while it is trained
TESTED = 400
Row = dict[str, Any]
"""question, context, answers: {"text": [...], "answer_start": [...]}, as SQuAD 2 has them."""


def read(data: Path, split: str) -> list[str]:
    with gzip.open(data, "rt", encoding="utf8") as file:
        rows = [json.loads(line) for line in file]
    return list(dict.fromkeys(row["document"] for row in rows if row["split"] == split))


def questions(documents: list[str], draw: random.Random, long: float) -> Iterator[Row]:
    """Of every document what it is asked; `long`: how many have others around them that do not name such a thing."""
    for document in documents:
        context = document
        if draw.random() < long:
            others = draw.sample(documents, 4)
            others.insert(draw.randrange(5), document)
            context = " ".join(others)
        found = {question: [*re.finditer(pattern, context)] for question, pattern in KINDS.items()}
        asked = [question for question, matches in found.items() if len(matches) == 1]
        if draw.random() < 0.1:
            absent = draw.choice([question for question, matches in found.items() if not matches] or [""])
            if absent:
                yield {"question": absent, "context": context, "answers": {"text": [], "answer_start": []}}
        elif asked:
            question = draw.choice(asked)
            (match,) = found[question]
            yield {"question": question, "context": context, "answers": {"text": [match[0]], "answer_start": [match.start()]}}


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(lowercase=False), pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=WORDS, special_tokens=list(SPECIAL.values()), show_progress=False))
    ends = [(name, backend.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends)
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_input_names=names, model_max_length=POSITIONS, **SPECIAL)


def examples(tokenizer: Any, rows: list[Row]) -> Iterator[tuple[Any, int, int]]:
    """(encoding, first token, last token) of every window; the first token of all, where the answer is not in it."""
    cut = {"truncation": "only_second", "max_length": WINDOW, "stride": 32, "return_overflowing_tokens": True, "padding": "max_length"}
    for row in rows:
        for encoding in tokenizer(row["question"], row["context"], **cut).encodings:
            first = last = 0
            for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True):
                ends = encoding.char_to_token(start, 1), encoding.char_to_token(start + len(text) - 1, 1)
                if None not in ends:
                    first, last = ends
            yield encoding, first, last


def train(data: Path, out: Path, minutes: float, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    draw = random.Random(0)
    documents = read(data, "train")
    tokenizer = make_tokenizer([*documents[:8000], *KINDS])
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=POSITIONS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = BertForQuestionAnswering(config).train()
    rows = [*examples(tokenizer, [*questions(documents[:12000], draw, 0.1)])]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    begin, step, average = time.time(), 0, 0.0
    while (fraction := (time.time() - begin) / 60 / minutes) < 1:
        batch = draw.sample(rows, 32)
        given = {
            "input_ids": [one.ids for one, *_ in batch],
            "token_type_ids": [one.type_ids for one, *_ in batch],
            "attention_mask": [one.attention_mask for one, *_ in batch],
            "start_positions": [first for _, first, _ in batch],
            "end_positions": [last for *_, last in batch],
        }
        optimizer.param_groups[0]["lr"] = 2e-3 * min(1, (step + 1) / 50) * (1 - fraction)
        loss = model(**{name: torch.tensor(values) for name, values in given.items()}).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step, average = step + 1, loss.item() if step == 0 else 0.95 * average + 0.05 * loss.item()
        if step % 50 == 0:
            print(f"step {step}  {100 * fraction:.0f} %  loss {average:.3f}", flush=True)
    model.eval().save_pretrained(out)
    tokenizer.save_pretrained(out)
    tested = [*questions(read(data, "test"), random.Random(1), 0.25)][:TESTED]
    (out / "questions.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in tested), encoding="utf8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a tiny model that answers questions, and write questions to ask it.")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    train(given.data, given.out, given.minutes, given.threads)
