"""Marian checkpoints of every shape that the tokenizer's code tells apart, made from the shipped one, each with its transformers tokenizer."""

import json
import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from transformers import MarianTokenizer

from zen_edge.exporters.tokenization import save_tokenizer
from zen_edge.runtimes.tokenization import Tokenizer, load_tokenizer

SHIPPED = Path(str(files("zen_edge"))) / "data" / "marian-en-fr"
PAIRS = [json.loads(line) for line in (Path(__file__).parents[1] / "data" / "descriptions.test.en-fr.jsonl").read_text("utf-8").splitlines()]


@dataclass(frozen=True)
class Case:
    reference: Any  # transformers' tokenizer
    tokenizer: Tokenizer
    settings: dict[str, Any]
    folder: Path

    def reference_ids(self, text: str) -> list[int]:
        return self.reference(text, verbose=False)["input_ids"]

    def reference_text(self, ids: list[int]) -> str | None:
        try:
            return self.reference.decode(ids, skip_special_tokens=True)
        except IndexError:
            return None


def shipped(folder: Path) -> None:
    for name in ("source.spm", "target.spm", "vocab.json", "tokenizer_config.json"):
        copyfile(SHIPPED / name, folder / name)


def multilingual(folder: Path) -> None:
    shipped(folder)
    _change(folder / "vocab.json", **{">>fra<<": 8001, ">>deu<<": 8002, ">>zh_Hans<<": 8003})


def byte_fallback(folder: Path) -> None:
    """Few pieces, so that most characters of random text become byte pieces and fall apart between two ids."""
    shipped(folder)
    _train(folder / "source.spm", [pair["source"] for pair in PAIRS])
    copyfile(folder / "source.spm", folder / "target.spm")
    pieces = SentencePieceProcessor(model_file=str(folder / "source.spm"))
    words = [pieces.id_to_piece(id) for id in range(pieces.get_piece_size())]
    _write(folder / "vocab.json", {word: id for id, word in enumerate([*dict.fromkeys(["</s>", "<unk>", *reversed(words)]), "<pad>"])})


def separate_vocabs(folder: Path) -> None:
    """The target side has fewer words, in another order, and its own sentencepiece model; its special tokens stand under other ids."""
    shipped(folder)
    _train(folder / "target.spm", [pair["target"] for pair in PAIRS])
    pieces = SentencePieceProcessor(model_file=str(folder / "target.spm"))
    words = [pieces.id_to_piece(id) for id in range(pieces.get_piece_size())]
    random.Random(0).shuffle(words)
    _write(folder / "target_vocab.json", {word: id for id, word in enumerate([*words, "<pad>", "word of the vocabulary alone"])})
    _change(folder / "tokenizer_config.json", separate_vocabs=True)


def target_spm_alone(folder: Path) -> None:
    """One vocabulary, two sentencepiece models, as the published checkpoints have them: target.spm cuts target texts and nothing else."""
    shipped(folder)
    _train(folder / "target.spm", [pair["target"] for pair in PAIRS])
    pieces = SentencePieceProcessor(model_file=str(folder / "target.spm"))
    words = dict.fromkeys([*json.loads((folder / "vocab.json").read_text("utf-8")), *(pieces.id_to_piece(id) for id in range(300))])
    _write(folder / "vocab.json", {word: id for id, word in enumerate(words)})


def added_tokens(folder: Path) -> None:
    """Added tokens with every stripping rule, some overlapping, some special; clean-up switched on."""
    shipped(folder)
    rules = {
        0: {"content": "</s>", "special": True},
        8000: {"content": "<pad>", "special": True, "lstrip": True},
        8001: {"content": "<mask>", "special": True, "lstrip": True, "rstrip": True},
        8002: {"content": "word", "single_word": True},
        8003: {"content": "abcd", "rstrip": True},
        8004: {"content": "bc"},
        8005: {"content": ">>fra<<", "lstrip": True},
        8006: {"content": "<extra>", "special": True},
    }
    plain = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": False}
    _change(
        folder / "tokenizer_config.json",
        added_tokens_decoder={str(id): plain | rule for id, rule in rules.items()},
        extra_special_tokens=["<mask>", "<extra>"],
        clean_up_tokenization_spaces=True,
        model_max_length=None,
    )


def unsplit(folder: Path) -> None:
    shipped(folder)
    _change(folder / "tokenizer_config.json", split_special_tokens=True)


def repeated(folder: Path) -> None:
    """The text of a special token under a second id: later duplicates win, and the first id still decodes."""
    shipped(folder)
    _change(
        folder / "tokenizer_config.json", added_tokens_decoder={"5": {"content": "</s>", "special": True}, "6": {"content": "<pad>", "special": True}}
    )


SHAPES: tuple[Callable[[Path], None], ...] = (
    shipped,
    multilingual,
    byte_fallback,
    separate_vocabs,
    target_spm_alone,
    added_tokens,
    unsplit,
    repeated,
)


@pytest.fixture(scope="session")
def make_case(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[Path], None]], Case]:
    cases: dict[str, Case] = {}

    def make(shape: Callable[[Path], None]) -> Case:
        if shape.__name__ not in cases:
            checkpoint, bundle = tmp_path_factory.mktemp(f"{shape.__name__}-checkpoint"), tmp_path_factory.mktemp(f"{shape.__name__}-bundle")
            shape(checkpoint)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Recommended: pip install sacremoses")  # its normalizer is never called
                reference = MarianTokenizer.from_pretrained(checkpoint)
            settings = json.loads(json.dumps(save_tokenizer(reference, bundle)))  # as the manifest will give it back
            cases[shape.__name__] = Case(reference, load_tokenizer(bundle, settings), settings, bundle)
        return cases[shape.__name__]

    return make


@pytest.fixture(scope="session", params=SHAPES, ids=lambda shape: shape.__name__)
def case(request: pytest.FixtureRequest, make_case: Callable[[Callable[[Path], None]], Case]) -> Case:
    return make_case(request.param)


@pytest.fixture(scope="session")
def shipped_case(make_case: Callable[[Callable[[Path], None]], Case]) -> Case:
    return make_case(shipped)


@pytest.fixture(scope="session")
def multilingual_case(make_case: Callable[[Callable[[Path], None]], Case]) -> Case:
    return make_case(multilingual)


@pytest.fixture(scope="session")
def pairs() -> list[dict[str, str]]:
    return PAIRS


def _train(model: Path, lines: list[str]) -> None:
    SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(model.with_suffix("")), vocab_size=500, byte_fallback=True, minloglevel=2, num_threads=1
    )
    model.with_suffix(".model").rename(model)


def _change(path: Path, **changes: Any) -> None:
    _write(path, json.loads(path.read_text("utf-8")) | changes)


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
