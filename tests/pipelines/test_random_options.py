"""Combinations of options drawn at random: the tokens and scores of `model.generate`, through a bundle."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.filterwarnings("ignore:Both `max_new_tokens`", "ignore:.*early_stopping")

CASES, PARTS = 240, 8
# Of a case whose scores nearly tie rounding may decide; with these seeds none did where the test was written.
MOST_TIES = 1


def drawn(rng: random.Random) -> dict[str, Any]:
    """Each option now and then, its value one that changes something."""
    beams = rng.choice((1, 1, 2, 3, 5))
    words = range(4, 500)
    several = {
        "num_return_sequences": lambda: rng.randint(1, beams),
        "length_penalty": lambda: rng.choice((-0.7, 0.0, 0.5, 2.0, 3)),
        "early_stopping": lambda: rng.choice((True, "never")),
    }
    rules = {
        "min_length": lambda: rng.randint(2, 9),
        "min_new_tokens": lambda: rng.randint(1, 7),
        "no_repeat_ngram_size": lambda: rng.randint(1, 3),
        "repetition_penalty": lambda: rng.choice((0.8, 1.2, 1.7)),
        "encoder_no_repeat_ngram_size": lambda: rng.randint(1, 3),
        "encoder_repetition_penalty": lambda: rng.choice((0.7, 1.4)),
        "bad_words_ids": lambda: [rng.sample(words, rng.choice((1, 1, 2))) for _ in range(30)],
        "suppress_tokens": lambda: rng.sample(words, 60),
        "begin_suppress_tokens": lambda: rng.sample(words, 200),
        "forced_bos_token_id": lambda: rng.randint(505, 550),
        "forced_eos_token_id": lambda: 2,
        "renormalize_logits": lambda: True,
        "sequence_bias": lambda: [[rng.sample(words, rng.choice((1, 2))), rng.choice((-3.0, 2.5))] for _ in range(40)],
        "exponential_decay_length_penalty": lambda: (rng.randint(1, 5), rng.choice((1.05, 1.3))),
        "decoder_prefix": lambda: rng.sample(words, rng.randint(1, 4)),
    }
    chosen: dict[str, Any] = {"num_beams": beams, rng.choice(("max_new_tokens", "max_length")): rng.randint(8, 14)}
    chosen |= {name: value() for name, value in several.items() if beams > 1 and rng.random() < 0.4}
    return chosen | {name: value() for name, value in rules.items() if rng.random() < 0.18}


@pytest.mark.parametrize("part", range(PARTS))
def test_any_combination(part, mbart50, lines):
    rng = random.Random(part)
    ties, seen, used = 0, set(), set()
    for _ in range(CASES // PARTS):
        options = drawn(rng)
        # transformers takes padding for text in the rules that look at the input, so for those it is asked for one line at a time.
        some = rng.sample(lines, 1 if any(name.startswith("encoder_") for name in options) else 3)
        theirs = dict(options)
        if prefix := theirs.pop("decoder_prefix", None):
            theirs["decoder_input_ids"] = torch.tensor([[2, *prefix]] * len(some))
        expected, found = mbart50.of_transformers(some, **theirs), mbart50.pipeline.generate(some, **options)
        rows = [[one.tokens for one in line] for line in found]
        if rows == [[tokens for tokens, _ in line] for line in expected]:
            for line, reference in zip(found, expected, strict=True):
                assert [one.score for one in line] == pytest.approx([score for _, score in reference], abs=2e-4, rel=1e-4), options
        else:
            ties += 1
            assert ties <= MOST_TIES, (options, some, rows, expected)
        seen |= {row for line in rows for row in line}
        used |= options.keys()
    assert len(seen) > 40
    assert len({len(row) for row in seen}) > 5
    assert len(used) > 14
