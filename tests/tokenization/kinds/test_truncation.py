"""`overflow="truncate"`: the beginning of the text between the same special tokens as transformers' own truncation leaves it."""

import pytest

from zen_edge.runtimes.pipelines.text_to_text import _shortened

SUFFIXES = {"mbart": 2, "plbart_multi": 2, "nllb_legacy_with_few_languages": 2, "mbart50": 1, "t5": 1, "bart": 1, "byt5": 1}


def test_what_is_left_is_what_transformers_leaves(kind, pairs):
    nothing = kind.tokenizer.encode("")
    cut = 0
    for pair in pairs[:60]:
        ids = kind.tokenizer.encode(pair["source"])
        for longest in (len(nothing) + 2, len(ids) // 2, len(ids) - 1):
            if len(nothing) < longest < len(ids):
                expected = kind.reference(pair["source"], truncation=True, max_length=longest)["input_ids"]
                assert _shortened(ids, longest, nothing) == expected
                cut += 1
    assert cut > 100


@pytest.mark.parametrize("name", SUFFIXES)
def test_both_ids_at_the_end_stay(named_kind, pairs, name):
    kind, line = named_kind(name), pairs[0]["source"]
    ids, end = kind.tokenizer.encode(line), SUFFIXES[name]
    short = _shortened(ids, 6, kind.tokenizer.encode(""))
    assert len(ids) > 6
    assert short == [*ids[: 6 - end], *ids[-end:]]
    assert kind.reference.eos_token_id in short[-end:]
