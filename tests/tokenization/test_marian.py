"""The same ids and the same text as transformers' MarianTokenizer."""

import random

import numpy as np
import pytest

from zen_edge.errors import InputError, OptionError
from zen_edge.exporters.tokenization import HARD_LINES, SURROGATES, prove_tokenizer

FRAGMENTS = (
    "</s>", "<pad>", "<unk>", "<mask>", "<extra>", ">>fra<<", ">>deu<<", ">>xx<<", ">>", "<<", "<", ">", "word", "abcd", "abc", "bc", "a", "d", " ",
    "  ", "\t", "▁", "\u00a0", "Hello", "é", "e\u0301", "日本", "👩‍👩‍👧", "\0", "\ufeff", "'", "n't", " .", "package", "-", "/", "\u3000", "\u2028",
    "<0x0A>",
)  # fmt: skip
RANGES = ((0, 0x7F), (0x80, 0x24F), (0x300, 0x36F), (0x590, 0x6FF), (0x2000, 0x206F), (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xE000, 0x10FFFF))


def random_texts(seed: int, count: int) -> list[str]:
    """Half of fragments that mean something to the code, half of characters from all over Unicode."""
    rng = random.Random(seed)
    fragments = ["".join(rng.choices(FRAGMENTS, k=rng.randint(0, 9))) for _ in range(count // 2)]
    characters = ["".join(chr(rng.randint(*rng.choice(RANGES))) for _ in range(rng.randint(0, 20))) for _ in range(count - count // 2)]
    return fragments + characters


def random_ids(reference, seed: int, count: int) -> list[list[int]]:
    """Up to 20 ids, special ones in the middle, now and then one beyond the vocabulary (refused by both sides)."""
    rng, special = random.Random(seed), reference.all_special_ids
    known = sorted({*reference.decoder, *reference.added_tokens_decoder})

    def one() -> int:
        dice = rng.random()
        return rng.choice(special) if dice < 0.2 else rng.choice(known) if dice < 0.99 else rng.randint(0, known[-1] + 600)

    return [[one() for _ in range(rng.randint(0, 20))] for _ in range(count)]


def our_text(tokenizer, ids):
    try:
        return tokenizer.decode(ids)
    except InputError:
        return None


def test_sentences_have_the_ids_of_transformers(case, pairs):
    for pair in pairs:
        assert case.tokenizer.encode(pair["source"]) == case.reference_ids(pair["source"])


def test_translations_have_the_text_of_transformers(case, pairs):
    for pair in pairs:
        ids = case.reference(text_target=pair["target"], verbose=False)["input_ids"]
        assert case.tokenizer.decode(ids) == case.reference_text(ids)


@pytest.mark.parametrize("line", HARD_LINES, ids=lambda line: ascii(line)[:30])
def test_hard_lines(case, line):
    ids = case.reference_ids(line)
    assert case.tokenizer.encode(line) == ids
    assert our_text(case.tokenizer, ids) == case.reference_text(ids)  # source ids, which a target vocabulary may lack


def test_random_texts(case):
    for text in random_texts(seed=1, count=3000):
        assert case.tokenizer.encode(text) == case.reference_ids(text), ascii(text)


def test_random_ids(case):
    sequences = random_ids(case.reference, seed=2, count=3000)
    texts = [case.reference_text(ids) for ids in sequences]
    assert sum(text is not None and len(text) > 20 for text in texts) > 500  # the comparison sees text
    for ids, text in zip(sequences, texts, strict=True):
        assert our_text(case.tokenizer, ids) == text, ids


def test_every_shape_passes_the_proof_of_the_export(case):
    assert prove_tokenizer(case.reference, case.tokenizer.encode, case.tokenizer.decode) > len(HARD_LINES)


def test_numbers(case):
    assert case.tokenizer.pad_token_id == case.reference.pad_token_id
    assert case.tokenizer.vocab_size == case.reference.vocab_size
    assert case.tokenizer.max_length == (case.reference.model_max_length if case.reference.model_max_length < 1e9 else None)


@pytest.mark.parametrize("line", SURROGATES, ids=ascii)
def test_lone_surrogates_are_an_input_error(shipped_case, line):
    with pytest.raises(InputError, match=r"lone surrogate '\\ud"):
        shipped_case.tokenizer.encode(line)


def test_an_id_beyond_every_vocabulary_is_an_input_error(shipped_case):
    with pytest.raises(InputError, match="token id 8001 is in no vocabulary: the ids of this tokenizer end at 8000"):
        shipped_case.tokenizer.decode([12, 8001])


def test_ids_may_be_a_numpy_array(shipped_case):
    ids = shipped_case.reference_ids("Hello world.")
    assert shipped_case.tokenizer.decode(np.array(ids)) == shipped_case.reference_text(ids)


def test_target_language_is_a_prefix(multilingual_case):
    ids = multilingual_case.tokenizer.encode("Hello world", target_lang="fra")
    assert ids[0] == 8001
    assert ids == multilingual_case.reference_ids(">>fra<< Hello world")
    assert multilingual_case.tokenizer.encode("", target_lang="zh_Hans") == [8003, 0]


def test_an_unknown_target_language_names_the_known_ones(multilingual_case):
    with pytest.raises(OptionError, match="target_lang='fr' is not a language of this model; it has fra, deu, zh_Hans"):
        multilingual_case.tokenizer.encode("Hello", target_lang="fr")


def test_one_target_language_cannot_be_chosen(shipped_case):
    with pytest.raises(OptionError, match="one target language only"):
        shipped_case.tokenizer.encode("Hello", target_lang="fr")


def test_source_language_is_refused(multilingual_case):
    with pytest.raises(OptionError, match="source_lang='eng'"):
        multilingual_case.tokenizer.encode("Hello", source_lang="eng")


def test_target_texts(case):
    """What stands at the beginning of the output: cut by the other side's model, with no end token."""
    texts = [*HARD_LINES, *random_texts(seed=7, count=600), "bibliothèque pour les sons", ">>fra<< jeu"]
    for text in texts:
        assert case.tokenizer.encode_target(text) == case.reference(text_target=text, add_special_tokens=False)["input_ids"], ascii(text)
    differ = sum(case.tokenizer.encode_target(text) != case.tokenizer.encode(text)[:-1] for text in texts)
    two_models = case.reference.spm_source.serialized_model_proto() != case.reference.spm_target.serialized_model_proto()
    assert (differ > 100) == two_models
    for line in SURROGATES:
        with pytest.raises(InputError):
            case.tokenizer.encode_target(line)
