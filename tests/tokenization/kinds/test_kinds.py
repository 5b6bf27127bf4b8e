"""The same ids and the same text as transformers, whatever the kind of tokenizer."""

import random

import pytest

from zen_edge.errors import InputError
from zen_edge.exporters.tokenization import HARD_LINES, SURROGATES, prove_tokenizer
from zen_edge.runtimes.tokenization.streaming import TextStream

pytestmark = pytest.mark.filterwarnings("ignore:This sequence already has")  # ByT5, of texts that end in </s>

FRAGMENTS = (
    "</s>", "<pad>", "<unk>", "<mask>", "<s>", "<extra_id_0>", "<extra_id_7>", "[SEP]", "[MASK]", "__fr__", "__java__", "__newln__", "__unk__",
    "fr_XX", "eng_Latn", "word", "abcd", "bc", "a", " ", "  ", "\t", "\n", "▁", "\u00a0", "Hello", "İ", "É", "e\u0301", "日本", "👩‍👩‍👧", "\0", "\ufeff", "'",
    "n't", " .", "?!", "package", "-", "/", "\u3000", "\u2028", "\x85", "@@ ", "@@", "##", "\ufffd", "ß", "ﬁ",
)  # fmt: skip
RANGES = ((0, 0x7F), (0x80, 0x24F), (0x300, 0x36F), (0x590, 0x6FF), (0x2000, 0x206F), (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xE000, 0x10FFFF))


def random_texts(seed: int, count: int) -> list[str]:
    """Half of fragments that mean something to the code, half of characters from all over Unicode."""
    rng = random.Random(seed)
    fragments = ["".join(rng.choices(FRAGMENTS, k=rng.randint(0, 9))) for _ in range(count // 2)]
    characters = ["".join(chr(rng.randint(*rng.choice(RANGES))) for _ in range(rng.randint(0, 20))) for _ in range(count - count // 2)]
    return fragments + characters


def our_text(tokenizer, ids):
    try:
        return tokenizer.decode(ids)
    except InputError:
        return None


def test_sentences_and_translations(kind, pairs):
    for text in [text for pair in pairs[:300] for text in pair.values() if isinstance(text, str)]:
        ids = kind.reference_ids(text)
        assert kind.tokenizer.encode(text) == ids
        assert kind.tokenizer.decode(ids) == kind.reference_text(ids)


def test_hard_lines(kind):
    for line in HARD_LINES:
        ids = kind.reference_ids(line)
        assert kind.tokenizer.encode(line) == ids, ascii(line)
        assert our_text(kind.tokenizer, ids) == kind.reference_text(ids), ascii(line)


def test_random_texts(kind):
    for text in random_texts(seed=1, count=800):
        assert kind.tokenizer.encode(text) == kind.reference_ids(text), ascii(text)


def test_random_ids(kind):
    rng, special = random.Random(2), kind.reference.all_special_ids
    for _ in range(800):
        end = len(kind.reference) + (5 if rng.random() < 0.1 else 0)
        ids = [rng.choice(special) if rng.random() < 0.2 else rng.randrange(end) for _ in range(rng.randint(0, 20))]
        assert our_text(kind.tokenizer, ids) == kind.reference_text(ids), ids


def test_streamed_pieces_add_up(kind, pairs):
    for pair in pairs[:40]:
        ids = kind.reference_ids(pair["target"])
        stream = TextStream(kind.tokenizer.decode)
        pieces = [*(stream.push(ids[:end]) for end in range(1, len(ids) + 1)), stream.close(ids)]
        assert "".join(pieces) == kind.reference_text(ids)
        assert len([piece for piece in pieces if piece]) > 1


def test_every_kind_passes_the_proof_of_the_export(kind):
    ours = kind.tokenizer
    assert prove_tokenizer(kind.reference, ours.encode, ours.decode, ours.forced_bos_token_id) > len(HARD_LINES)


def test_numbers(kind):
    assert kind.tokenizer.pad_token_id == kind.reference.pad_token_id
    assert kind.tokenizer.vocab_size == kind.reference.vocab_size
    assert kind.tokenizer.max_length == (kind.reference.model_max_length if kind.reference.model_max_length < 1e9 else None)


@pytest.mark.parametrize("line", SURROGATES, ids=ascii)
def test_lone_surrogates_are_an_input_error(kind, line):
    with pytest.raises(InputError, match="lone surrogate"):
        kind.tokenizer.encode(line)


def test_a_negative_id_is_no_crash(kind):
    assert our_text(kind.tokenizer, [-5]) in (None, kind.reference_text([-5]))


def test_target_texts(kind, monkeypatch):
    """What stands at the beginning of the output: no language, no end token."""
    if type(kind.reference).__name__ == "M2M100Tokenizer" and kind.reference.tgt_lang is None:
        monkeypatch.setattr(kind.reference, "tgt_lang", "en")  # transformers needs one, though it leaves no trace
    for text in [*HARD_LINES, *random_texts(seed=7, count=300), "bibliothèque pour les sons"]:
        assert kind.tokenizer.encode_target(text) == list(kind.reference(text_target=text, add_special_tokens=False)["input_ids"]), ascii(text)
    for line in SURROGATES:
        with pytest.raises(InputError):
            kind.tokenizer.encode_target(line)


def test_pieces(kind):
    text = "Hello world, a small reader of files"
    named = [token.replace("Ġ", "▁").replace(" ", "▁") for token in kind.reference.tokenize(text)]
    pieces = kind.tokenizer.pieces(kind.reference_ids(text))
    at = pieces.index(named[0])
    assert pieces[at : at + len(named)] == named
    assert {*pieces[:at], *pieces[at + len(named) :]} <= {*kind.reference.all_special_tokens, *kind.settings.get("languages", {}), "__en__"}
    said = kind.tokenizer.pieces(kind.tokenizer.encode_target("ça"), target=True)
    assert said
    assert all(piece.isprintable() and piece for piece in said)
