"""The rule of times, on random scores and histories, against transformers' own."""

import numpy as np
import pytest
import torch
from transformers import GenerationConfig
from transformers.generation.logits_process import WhisperTimeStampLogitsProcessor

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding import GenerationOptions

WORDS, END, NO_TIMES, START = 60, 40, 44, 3


@pytest.mark.parametrize("most_initial", [None, 0, 5])
def test_the_same_scores_as_transformers(most_initial: int | None) -> None:
    config = GenerationConfig(eos_token_id=END, no_timestamps_token_id=NO_TIMES, max_initial_timestamp_index=most_initial)
    theirs = WhisperTimeStampLogitsProcessor(config, begin_index=START)
    asked = {"eos_token_id": END, "no_timestamps_token_id": NO_TIMES, "max_initial_timestamp_index": most_initial}
    (rule,) = GenerationOptions.from_defaults(asked, return_timestamps=True, max_length=50).active_rules(START, WORDS)
    random = np.random.default_rng(0)
    changed = 0
    for _ in range(400):
        length = START + int(random.integers(0, 6))
        ids = random.choice([3, 7, 30, NO_TIMES + 1, NO_TIMES + 3, NO_TIMES + 6, WORDS - 1], (3, length))
        scores = random.normal(0, random.choice([0.1, 1, 5]), (3, WORDS)).astype(np.float32)
        expected = theirs(torch.from_numpy(ids), torch.from_numpy(scores)).numpy()
        given = rule(ids).apply(scores)
        np.testing.assert_array_equal(given, expected)
        changed += int((given != scores).any(axis=1).sum())
    assert changed > 1000


def test_what_it_needs_is_told() -> None:
    with pytest.raises(OptionError, match="no_timestamps_token_id"):
        GenerationOptions.from_defaults({"max_length": 9}, return_timestamps=True).active_rules(1, WORDS)
    with pytest.raises(OptionError, match="true or false"):
        GenerationOptions.from_defaults({}, return_timestamps=1)
