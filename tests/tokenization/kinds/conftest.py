"""Tokenizers of every kind but Marian, trained on the spot and saved as checkpoints, each as AutoTokenizer reads it and as the runtime does."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sacremoses import MosesTokenizer
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Backend
from transformers import (
    AlbertTokenizer,
    AutoTokenizer,
    BartTokenizer,
    BertTokenizer,
    BlenderbotSmallTokenizer,
    BlenderbotTokenizer,
    ByT5Tokenizer,
    DebertaV2Tokenizer,
    FSMTTokenizer,
    LEDTokenizer,
    M2M100Tokenizer,
    MBart50Tokenizer,
    MBartTokenizer,
    MPNetTokenizer,
    NllbTokenizer,
    PegasusTokenizer,
    PLBartTokenizer,
    PreTrainedTokenizerFast,
    ProphetNetTokenizer,
    RobertaTokenizer,
    T5Tokenizer,
    XLMRobertaTokenizer,
)

from zen_edge.exporters.tokenization import save_tokenizer
from zen_edge.runtimes.tokenization import Tokenizer, load_tokenizer

DATA = Path(__file__).parents[2] / "data" / "descriptions.test.en-fr.jsonl"
PAIRS = [json.loads(line) for line in DATA.read_text("utf-8").splitlines()]
LINES = [text for pair in PAIRS[:400] for text in (pair["source"], pair["target"])]


@dataclass(frozen=True)
class Kind:
    reference: Any  # transformers' tokenizer
    tokenizer: Tokenizer
    settings: dict[str, Any]
    folder: Path

    def reference_ids(self, text: str) -> list[int]:
        return list(self.reference(text, verbose=False)["input_ids"])

    def reference_text(self, ids: list[int]) -> str | None:
        try:
            return self.reference.decode(ids, skip_special_tokens=True)
        except (IndexError, ValueError, OverflowError):
            return None


@cache
def unigram() -> list[tuple[str, float]]:
    """Pieces and scores, those of T5 and Pegasus without their special tokens."""
    backend = Backend(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.train_from_iterator(LINES, trainers.UnigramTrainer(vocab_size=500, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False))
    return [(piece, score) for piece, score in json.loads(backend.to_str())["model"]["vocab"] if piece != "<unk>"]


@cache
def bytes_bpe() -> dict[str, Any]:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False))
    words = ["<s>", "<pad>", "</s>", "<unk>", *backend.get_vocab(), "<mask>"]
    merges = [tuple(merge) for merge in json.loads(backend.to_str())["model"]["merges"]]
    return {"vocab": {word: id for id, word in enumerate(words)}, "merges": merges}


@cache
def wordpiece() -> dict[str, int]:
    backend = Backend(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[X_SEP]"]
    backend.train_from_iterator(LINES, trainers.WordPieceTrainer(vocab_size=500, special_tokens=special, show_progress=False))
    return backend.get_vocab()


def train_spm(path: Path, model_type: str = "unigram") -> list[str]:
    SentencePieceTrainer.train(
        sentence_iterator=iter(LINES),
        model_prefix=str(path.with_suffix("")),
        model_type=model_type,
        vocab_size=500,
        minloglevel=2,
        num_threads=1,
    )
    if path.suffix != ".model":
        path.with_suffix(".model").rename(path)
    pieces = SentencePieceProcessor(model_file=str(path))
    return [pieces.id_to_piece(id) for id in range(pieces.get_piece_size())]


def t5(folder: Path) -> Any:
    sentinels = [(f"<extra_id_{i}>", 0.0) for i in reversed(range(100))]
    return T5Tokenizer(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *unigram(), *sentinels], model_max_length=512)


def t5_from_sentencepiece(folder: Path) -> Any:
    """The path of a checkpoint that holds spiece.model only: normalizer and vocabulary come out of it."""
    train_spm(folder / "spiece.model")
    return T5Tokenizer.from_pretrained(folder)


def umt5(folder: Path) -> Any:
    """No class of its own: a bare backend, here with byte fallback and added tokens of every rule."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    backend = Backend(models.Unigram([*special, *((f"<0x{i:02X}>", 0.0) for i in range(256)), *unigram()], unk_id=2, byte_fallback=True))
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", pad_token="<pad>", unk_token="<unk>")
    rules = {"word": {"single_word": True}, "abcd": {"rstrip": True}, "bc": {}, "É": {"normalized": True, "lstrip": True}}
    tokenizer.add_tokens([AddedToken(content, **rule) for content, rule in rules.items()])
    tokenizer.add_special_tokens({"mask_token": AddedToken("<mask>", lstrip=True, rstrip=True)})
    tokenizer.add_eos_token = True
    return tokenizer


def pegasus(folder: Path) -> Any:
    sentinels = [(f"<unk_{i}>", 0.0) for i in range(2, 103)]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<mask_1>", 0.0), ("<mask_2>", 0.0), *sentinels, ("<unk>", 0.0)]
    return PegasusTokenizer(vocab=[*special, *unigram()])


def bart(folder: Path) -> Any:
    return BartTokenizer(**bytes_bpe())


def roberta_cleaned(folder: Path) -> Any:
    """transformers cleans no spaces after BPE though it is told to ..."""
    return RobertaTokenizer(**bytes_bpe(), clean_up_tokenization_spaces=True)


def led_cleaned_all_the_same(folder: Path) -> Any:
    """... until it is told twice."""
    again = {"clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": True}
    return LEDTokenizer(**bytes_bpe(), clean_up_tokenization_spaces=True, **again)


def blenderbot(folder: Path) -> Any:
    return BlenderbotTokenizer(**bytes_bpe())


def bert(folder: Path) -> Any:
    return BertTokenizer(vocab=wordpiece(), clean_up_tokenization_spaces=True, model_max_length=512)


def bert_cased(folder: Path) -> Any:
    return BertTokenizer(vocab=wordpiece(), do_lower_case=False, clean_up_tokenization_spaces=False, split_special_tokens=True)


def fairseq_unigram(*languages: str) -> list[tuple[str, float]]:
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    return [*special, *unigram(), *((code, 0.0) for code in languages), ("<mask>", 0.0)]


def mbart(folder: Path) -> Any:
    from transformers.models.mbart.tokenization_mbart import FAIRSEQ_LANGUAGE_CODES

    return MBartTokenizer(vocab=fairseq_unigram(*FAIRSEQ_LANGUAGE_CODES), tgt_lang="ro_RO")


def mbart50(folder: Path) -> Any:
    from transformers.models.mbart50.tokenization_mbart50 import FAIRSEQ_LANGUAGE_CODES

    return MBart50Tokenizer(vocab=fairseq_unigram(*FAIRSEQ_LANGUAGE_CODES), src_lang="fr_XX")


def nllb(folder: Path) -> Any:
    """As the published ones: the languages are special tokens beyond the vocabulary."""
    from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

    train_spm(folder / "sentencepiece.bpe.model", "bpe")
    languages = {"src_lang": "eng_Latn", "tgt_lang": "fra_Latn"}
    return NllbTokenizer.from_pretrained(folder, extra_special_tokens=FAIRSEQ_LANGUAGE_CODES, **languages)


def nllb_legacy_with_few_languages(folder: Path) -> Any:
    train_spm(folder / "sentencepiece.bpe.model", "bpe")
    codes = ["eng_Latn", "fra_Latn", "zho_Hans"]
    return NllbTokenizer.from_pretrained(folder, legacy_behaviour=True, extra_special_tokens=codes, src_lang="zho_Hans")


def nllb_without_languages(folder: Path) -> Any:
    """From sentencepiece alone: transformers gives every code the unknown word's id, so there is nothing to choose."""
    train_spm(folder / "sentencepiece.bpe.model", "bpe")
    return NllbTokenizer.from_pretrained(folder)


def m2m_100(folder: Path) -> Any:
    """As the published ones: the languages are special tokens."""
    from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES

    languages = [f"__{code}__" for code in FAIRSEQ_LANGUAGE_CODES["m2m100"]]
    return M2M100Tokenizer(*m2m_100_files(folder), extra_special_tokens=languages, tgt_lang="fr")


def m2m_100_bare(folder: Path) -> Any:
    """The languages are no special tokens, and stay in generated text."""
    return M2M100Tokenizer(*m2m_100_files(folder), language_codes="wmt21", clean_up_tokenization_spaces=True)


def m2m_100_files(folder: Path) -> tuple[str, str]:
    pieces = train_spm(folder / "spm.model")
    vocab = {word: id for id, word in enumerate(dict.fromkeys(["<s>", "<pad>", "</s>", "<unk>", *reversed(pieces[:-20])]))}
    (folder / "words.json").write_text(json.dumps(vocab))
    return str(folder / "words.json"), str(folder / "spm.model")


def plbart(folder: Path) -> Any:
    train_spm(folder / "spm.model")
    return PLBartTokenizer(str(folder / "spm.model"), language_codes="base")


def plbart_multi(folder: Path) -> Any:
    train_spm(folder / "spm.model", "bpe")
    languages = {"src_lang": "java", "tgt_lang": "python"}
    return PLBartTokenizer(str(folder / "spm.model"), language_codes="multi", clean_up_tokenization_spaces=False, **languages)


def byt5(folder: Path) -> Any:
    return ByT5Tokenizer()


def byt5_with_added_words(folder: Path) -> Any:
    tokenizer = ByT5Tokenizer(extra_ids=5, clean_up_tokenization_spaces=True)
    tokenizer.add_tokens(["word", AddedToken("bc", lstrip=True)])
    return tokenizer


def blenderbot_small(folder: Path) -> Any:
    backend = Backend(models.BPE(end_of_word_suffix="</w>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.train_from_iterator((line.lower() for line in LINES), trainers.BpeTrainer(vocab_size=500, end_of_word_suffix="</w>", show_progress=False))
    merges = [tuple(merge) for merge in json.loads(backend.to_str())["model"]["merges"]]
    words = [word.removesuffix("</w>") if word.endswith("</w>") else f"{word}@@" for word in backend.get_vocab()]
    vocab = {word: id for id, word in enumerate(dict.fromkeys(["__null__", "__start__", "__end__", "__unk__", "__newln__", *words]))}
    (folder / "words.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{first} {second}\n" for first, second in merges), encoding="utf-8")
    return BlenderbotSmallTokenizer(str(folder / "words.json"), str(folder / "merges.txt"))


def fsmt(folder: Path) -> Any:
    return FSMTTokenizer(langs=["en", "fr"], **fsmt_files(folder))


def fsmt_lower_cased(folder: Path) -> Any:
    """Of other languages, whose rules and abbreviations are others."""
    return FSMTTokenizer(langs=["ru", "de"], do_lower_case=True, **fsmt_files(folder))


def fsmt_files(folder: Path) -> dict[str, str]:
    """A vocabulary for each side, the ends of words in the same places of both, and merges for both."""
    backend = Backend(models.BPE(end_of_word_suffix="</w>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words = [" ".join(MosesTokenizer(lang).tokenize(pair[side])) for pair in PAIRS[:400] for lang, side in (("en", "source"), ("fr", "target"))]
    backend.train_from_iterator(words, trainers.BpeTrainer(vocab_size=600, end_of_word_suffix="</w>", show_progress=False))
    merges = [tuple(merge) for merge in json.loads(backend.to_str())["model"]["merges"]]
    special, parts = ["<s>", "<pad>", "</s>", "<unk>"], sorted(backend.get_vocab())
    ends, others = ([part for part in parts if part.endswith("</w>") == end] for end in (True, False))
    paths = {"src_vocab_file": folder / "words-a.json", "tgt_vocab_file": folder / "words-b.json", "merges_file": folder / "merges.txt"}
    paths["src_vocab_file"].write_text(json.dumps({word: id for id, word in enumerate([*special, *ends, *others[:-9]])}))
    paths["tgt_vocab_file"].write_text(json.dumps({word: id for id, word in enumerate([*special, *reversed(ends), *reversed(others[9:])])}))
    paths["merges_file"].write_text("".join(f"{first} {second} 1\n" for first, second in merges), encoding="utf-8")
    return {name: str(path) for name, path in paths.items()}


def prophetnet(folder: Path) -> Any:
    return ProphetNetTokenizer(prophetnet_file(folder))


def prophetnet_cased(folder: Path) -> Any:
    rules = {"do_lower_case": False, "tokenize_chinese_chars": False, "strip_accents": True, "never_split": ["bc", "n't"]}
    return ProphetNetTokenizer(prophetnet_file(folder), clean_up_tokenization_spaces=False, **rules)


def prophetnet_file(folder: Path) -> str:
    words = sorted(wordpiece(), key=wordpiece().__getitem__)
    (folder / "words.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    return str(folder / "words.txt")


def albert(folder: Path) -> Any:
    special = [("<pad>", 0.0), ("<unk>", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0), ("[MASK]", 0.0)]
    return AlbertTokenizer(vocab=[*special, *unigram()], model_max_length=512)


def xlm_roberta(folder: Path) -> Any:
    return XLMRobertaTokenizer(vocab=fairseq_unigram())


def deberta_v2(folder: Path) -> Any:
    special = [("[PAD]", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0), ("[UNK]", 0.0)]
    return DebertaV2Tokenizer(vocab=[*special, *unigram(), ("[MASK]", 0.0)], do_lower_case=False)


def mpnet(folder: Path) -> Any:
    words = [word for word in wordpiece() if not word.startswith("[")]
    return MPNetTokenizer(vocab={word: id for id, word in enumerate(["<s>", "<pad>", "</s>", "[UNK]", *words, "<mask>"])})


def roberta(folder: Path) -> Any:
    return RobertaTokenizer(**bytes_bpe(), add_prefix_space=True)


def modernbert(folder: Path) -> Any:
    """No class of its own: byte-level pieces between BERT's special tokens."""
    pieces = bytes_bpe()
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    vocab = {word: id for id, word in enumerate([*special, *(word for word in pieces["vocab"] if not word.startswith("<"))])}
    backend = Backend(models.BPE(vocab, [merge for merge in pieces["merges"] if set(merge) <= vocab.keys() and "".join(merge) in vocab]))
    backend.normalizer, backend.pre_tokenizer = normalizers.NFC(), pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    ends = [(word, vocab[word]) for word in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends)
    words = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=True, **words)


OF_ENCODERS: tuple[Callable[[Path], Any], ...] = (bert, bert_cased, roberta, roberta_cleaned, modernbert, albert, xlm_roberta, deberta_v2, mpnet)

KINDS: tuple[Callable[[Path], Any], ...] = (
    t5, t5_from_sentencepiece, umt5, pegasus, bart, roberta_cleaned, led_cleaned_all_the_same, blenderbot, bert, bert_cased,
    mbart, mbart50, nllb, nllb_legacy_with_few_languages, nllb_without_languages, m2m_100, m2m_100_bare, plbart, plbart_multi, byt5, byt5_with_added_words,
    blenderbot_small, fsmt, fsmt_lower_cased, prophetnet, prophetnet_cased,
)  # fmt: skip


@pytest.fixture(scope="session")
def make_kind(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[Path], Any]], Kind]:
    kinds: dict[str, Kind] = {}

    def make(build: Callable[[Path], Any]) -> Kind:
        name = build.__name__
        if name not in kinds:
            made, checkpoint, bundle = (tmp_path_factory.mktemp(f"{name}-{what}") for what in ("made", "checkpoint", "bundle"))
            build(made).save_pretrained(checkpoint)
            reference = AutoTokenizer.from_pretrained(checkpoint)
            settings = json.loads(json.dumps(save_tokenizer(reference, bundle)))  # as the manifest will give it back
            kinds[name] = Kind(reference, load_tokenizer(bundle, settings), settings, bundle)
        return kinds[name]

    return make


@pytest.fixture(scope="session", params=KINDS, ids=lambda build: build.__name__)
def kind(request: pytest.FixtureRequest, make_kind: Callable[[Callable[[Path], Any]], Kind]) -> Kind:
    return make_kind(request.param)


@pytest.fixture(scope="session", params=OF_ENCODERS, ids=lambda build: build.__name__)
def encoder_kind(request: pytest.FixtureRequest, make_kind: Callable[[Callable[[Path], Any]], Kind]) -> Kind:
    return make_kind(request.param)


@pytest.fixture(scope="session")
def named_kind(make_kind: Callable[[Callable[[Path], Any]], Kind]) -> Callable[[str], Kind]:
    """A kind by the name of its builder, for tests of what only some have."""
    by_name = {build.__name__: build for build in KINDS}
    return lambda name: make_kind(by_name[name])


@pytest.fixture(scope="session")
def pairs() -> list[dict[str, str]]:
    return PAIRS
