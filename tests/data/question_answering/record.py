"""Records what the question-answering pipeline of transformers says, which transformers 5 does not have any more:

    python tests/data/question_answering/record.py       # with transformers 4.57 and torch

It trains three small tokenizers (WordPiece, byte-level BPE, Unigram), asks tiny models with made-up weights, and writes <model>/tokenizer.json and
answers.json beside itself. Tests make the same models with `write_checkpoint`, whatever their transformers.
"""

import json
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForQuestionAnswering

HERE = Path(__file__).parent
LINES = HERE.parent / "descriptions.test.en-fr.jsonl"
SIZES = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "max_position_embeddings": 130, "embedding_size": 16,
}  # fmt: skip
SPECIAL = {
    "bert": {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"},
    "roberta": {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"},
    "albert": {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"},
}  # fmt: skip
SCALE = 6.0  # of the outputs, so that answers differ in score

STORY = (
    "The lighthouse of Kéréon was built between 1907 and 1916 by the engineer Crouton. It stands on a rock between the islands of Ushant and Molène; "
    "its keeper, M. Le Gall, painted every room himself. "
)
CONTEXTS = (
    STORY,
    STORY * 3 + "In 2004 the last keeper left, and the lamp has turned by itself since then. " + STORY,
    "Ça coûte 12 €, dit-elle. « Déjà vu » — l'été d'avant, à Zürich, un café e\u0301tait moins cher : 3,50 €.",
    "灯台は一九一六年に建てられました。守り人は部屋を青く塗りました。中文没有空格，句子很长。",
    "بُنيت المنارة عام ١٩١٦ على صخرة بين جزيرتين. שלום עולם, the tower stands.",
    "👍 family 👩‍👩‍👧‍👦 lives near [SEP] the tower </s> and <mask> [CLS] is nothing, e.g. U.S.A. and O'Neil's 3.14!",
    "  spaces   before,\tand\nnew lines\r\n  after  ",
    "supercalifragilistic" * 12 + " is one word, " + "a-b_c/d" * 9 + ".",
    "Привет, мир! Ναι, ίσως. नमस्ते दुनिया สวัสดีชาวโลก Hello. " * 4,
    "Paris paris PARIS Paris is Paris; paris. " * 6,
)
QUESTIONS = (
    "Who built the lighthouse?",
    "When?",
    "Où est-ce, et combien ça coûte ?",
    "誰が塗りましたか",
    "متى بُنيت المنارة؟",
    "which [SEP] word </s> is it",
)
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"top_k": 4},
    {"max_seq_len": 48, "doc_stride": 12},
    {"max_seq_len": 48, "doc_stride": 0, "top_k": 3},
    {"max_seq_len": 64, "doc_stride": 23, "handle_impossible_answer": True, "top_k": 3},
    {"handle_impossible_answer": True},
    {"align_to_words": False, "top_k": 3},
    {"max_answer_len": 3, "top_k": 2, "max_seq_len": 80},
    {"max_answer_len": 60},
)


def cases() -> list[tuple[str, str, dict[str, Any]]]:
    """(question, context, options): every context with every option, the questions in turn."""
    rows = [(context, options) for context in CONTEXTS for options in OPTIONS]
    return [(QUESTIONS[number % len(QUESTIONS)], context, options) for number, (context, options) in enumerate(rows)]


def write_checkpoint(kind: str, folder: Path) -> Any:
    """A model whose weights are made up from their names, with the tokenizer that lies here. Returns the model."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = (HERE / kind / "tokenizer.json").read_text("utf-8")
    vocab = json.loads(tokenizer)["model"]["vocab"]
    ids = {word: id for id, (word, *_) in enumerate(vocab)} if isinstance(vocab, list) else vocab
    known = {f"{name}_token_id": ids[SPECIAL[kind][f"{name}_token"]] for name in ("pad", "bos", "eos") if f"{name}_token" in SPECIAL[kind]}
    model = AutoModelForQuestionAnswering.from_config(AutoConfig.for_model(kind, vocab_size=len(ids), **SIZES, **known))
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            if weight.is_floating_point():
                weight.copy_(_made_up(name, tuple(weight.shape)))
    model.eval().save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    names = ["input_ids", *(["token_type_ids"] if kind != "roberta" else []), "attention_mask"]
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 128, "model_input_names": names, **SPECIAL[kind]}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return model


def _made_up(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if "LayerNorm" in name or "layer_norm" in name:
        return torch.from_numpy(float(name.endswith("weight")) + 0.1 * noise)
    if name.startswith("qa_outputs"):
        return torch.from_numpy(SCALE / shape[-1] ** 0.5 * noise)
    return torch.from_numpy(noise if "embedding" in name else 1.5 / shape[-1] ** 0.5 * noise)


def _write_tokenizers() -> None:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    pairs = [json.loads(line) for line in LINES.read_text("utf-8").splitlines()[:300]]
    lines = [text for pair in pairs for text in pair.values() if isinstance(text, str)] + [*CONTEXTS, *QUESTIONS]
    words = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    words.normalizer, words.pre_tokenizer, words.decoder = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    words.train_from_iterator(lines, trainers.WordPieceTrainer(vocab_size=600, special_tokens=[*SPECIAL["bert"].values()], show_progress=False))
    ends = [(word, words.token_to_id(word)) for word in ("[CLS]", "[SEP]")]
    words.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends)

    bytes_ = Tokenizer(models.BPE())
    bytes_.pre_tokenizer, bytes_.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special, alphabet = [*dict.fromkeys(SPECIAL["roberta"].values())], pre_tokenizers.ByteLevel.alphabet()
    bytes_.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=700, special_tokens=special, initial_alphabet=alphabet, show_progress=False))
    first, last = (("</s>", bytes_.token_to_id("</s>")), ("<s>", bytes_.token_to_id("<s>")))
    bytes_.post_processor = processors.RobertaProcessing(first, last, add_prefix_space=False)

    pieces = Tokenizer(models.Unigram())
    pieces.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()])
    pieces.pre_tokenizer, pieces.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = [*SPECIAL["albert"].values()]
    pieces.train_from_iterator(lines, trainers.UnigramTrainer(vocab_size=600, special_tokens=special, unk_token="<unk>", show_progress=False))
    ends = [(word, pieces.token_to_id(word)) for word in ("[CLS]", "[SEP]")]
    pieces.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends)
    for kind, tokenizer in (("bert", words), ("roberta", bytes_), ("albert", pieces)):
        (HERE / kind).mkdir(exist_ok=True)
        (HERE / kind / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")


def main() -> None:
    import tempfile

    import tokenizers
    import transformers
    from transformers import AutoTokenizer, pipeline

    torch.set_num_threads(1)
    if not (HERE / "bert").exists():  # they stay what they are: training them again gives others
        _write_tokenizers()
    found: dict[str, Any] = {"made_with": {module.__name__: module.__version__ for module in (transformers, tokenizers, torch)}}
    for kind in SPECIAL:
        with tempfile.TemporaryDirectory() as name:
            model = write_checkpoint(kind, Path(name))
            ask = pipeline("question-answering", model=model, tokenizer=AutoTokenizer.from_pretrained(name))
            found[kind] = []
            for question, context, options in cases():
                answers = ask(question=question, context=context, **options)
                answers = answers if isinstance(answers, list) else [answers]
                rows = [[one["answer"], round(one["score"], 8), one["start"], one["end"]] for one in answers]
                gaps = [before[1] - after[1] for before, after in pairwise(rows)]
                if min(gaps, default=1) < 2e-5:
                    print(f"{kind}: a near tie, which other machines may answer otherwise: {question!r}, {options}: {rows}")
                found[kind].append(rows)
    lines = {kind: "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in found[kind]) + "\n]" for kind in SPECIAL}
    parts = [f'"{key}": {lines.get(key) or json.dumps(value)}' for key, value in found.items()]
    (HERE / "answers.json").write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
